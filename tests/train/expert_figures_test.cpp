// How gates use their experts while a model trains.
#include "train/expert_figures.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "tests/mumoe/block_fixture.h"
#include "tests/support/thread_communicator.h"
#include "tests/train/small_run.h"
#include "train/expert_watch.h"

namespace mumoe::train {
namespace {

using mumoe::testing::RunResult;
using mumoe::testing::ScratchFolder;
using mumoe::testing::small_block;
using mumoe::testing::SmallRun;
using mumoe::testing::TestBlock;
using mumoe::testing::train_small;

/// The same figures token by token, of a_TN [T, N].
ExpertFigures counted(const at::Tensor& a_TN) {
  ExpertFigures f;
  f.tokens = a_TN.size(0);
  f.experts = a_TN.size(1);
  const auto experts = static_cast<std::size_t>(f.experts);
  std::vector<double> sums(experts), most(experts), largest;
  const double tokens = static_cast<double>(f.tokens);
  for (std::int64_t t = 0; t < f.tokens; ++t) {
    double top = 0;
    for (std::size_t n = 0; n < experts; ++n) {
      const double a =
          a_TN[t][static_cast<std::int64_t>(n)].to(at::kDouble).item<double>();
      sums[n] += a;
      most[n] = std::max(most[n], a);
      top = std::max(top, a);
      if (a <= 0) continue;
      f.active += 1 / (tokens * static_cast<double>(experts));
      f.entropy -= a * std::log(a) / tokens;
    }
    largest.push_back(top);
  }
  std::ranges::sort(largest);
  const std::size_t last = largest.size() - 1;
  for (std::size_t i = 0; i < 3; ++i) {
    const auto place = static_cast<double>(last) * (10.0 + 40.0 * i) / 100;
    f.largest[i] = largest[static_cast<std::size_t>(place)];
  }
  double entropy = 0;
  for (std::size_t n = 0; n < experts; ++n) {
    f.dead += most[n] == 0;
    f.idle += most[n] < 0.5 / static_cast<double>(experts);
    const double mean = sums[n] / tokens;
    if (mean > 0) entropy -= mean * std::log(mean);
    f.load.push_back(mean * static_cast<double>(experts));
  }
  f.effective = std::exp(entropy);
  return f;
}

void expect_figures(const ExpertFigures& found, const ExpertFigures& expected) {
  EXPECT_EQ(found.experts, expected.experts);
  EXPECT_EQ(found.tokens, expected.tokens);
  EXPECT_NEAR(found.active, expected.active, 1e-12);
  EXPECT_EQ(found.dead, expected.dead);
  EXPECT_EQ(found.idle, expected.idle);
  EXPECT_NEAR(found.entropy, expected.entropy, 1e-7);
  EXPECT_NEAR(found.effective / expected.effective, 1, 1e-7);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(found.largest[i] / expected.largest[i], 1, 0.02) << i;
  }
  for (std::size_t n = 0; n < expected.load.size(); ++n) {
    EXPECT_NEAR(found.load[n], expected.load[n], 1e-7) << n;
  }
}

/// x of `rows` tokens, all a little like the first, so that experts die.
at::Tensor tokens(std::int64_t rows, std::uint64_t stream) {
  return mumoe::testing::numbers({1, 6}, 40) * 2 +
         mumoe::testing::numbers({rows, 6}, stream) * 0.4;
}

TEST(ExpertWatch, CountsWhatTheBlockMixed) {
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ProcessMesh mesh(*self, 0, 1);
  for (const auto activation :
       {GateActivation::entmax15, GateActivation::softmax}) {
    BlockConfig config = small_block(Form::cp, {11, 3});
    config.gate.activation = activation;
    TestBlock block(config);
    block.randomise();
    const MuMoEBlock* const blocks[] = {&*block};
    ExpertWatch watch(blocks, mesh, at::kCPU);
    EXPECT_TRUE(watch.finish().empty()) << "nobody asked";
    const at::Tensor x = tokens(200, 1), more = tokens(100, 2);
    watch.begin();
    (void)block->forward(x);
    watch.count(false);
    (void)block->forward(tokens(50, 3));
    watch.count(true);
    (void)block->forward(more);
    const auto found = watch.finish();
    ASSERT_EQ(found.size(), 2u);
    std::vector<at::Tensor> a, b;
    (void)block->forward(x, a);
    (void)block->forward(more, b);
    for (std::size_t level = 0; level < 2; ++level) {
      expect_figures(found[level], counted(at::cat({a[level], b[level]})));
      EXPECT_TRUE(found[level].layer.ends_with(fmt::format("{}", level)));
    }
    const bool sparse = activation == GateActivation::entmax15;
    EXPECT_EQ(found[0].dead > 0, sparse) << "the case has none";
    EXPECT_GT(found[0].idle, 0);
    EXPECT_TRUE(watch.finish().empty()) << "it still looks";
  }
}

/// Trained for some steps; then one step on from there.
class OneStepOn {
 public:
  OneStepOn() {
    run.steps = 6;
    run.batch = 8;
    run.out = folder_.path();
    const auto self = dist::make_self_communicator(at::kCPU);
    train_small(*self, run);
    run.resume = true;
    run.resume_from = *run::latest_checkpoint(run.out / "checkpoints");
    run.out.clear();
    run.steps = 7;
    run.experts_every = 7;
    run.micro_batch = 1;
  }

  std::vector<std::string> on(int ranks) const {
    std::vector<std::string> said(static_cast<std::size_t>(ranks));
    dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
      said[static_cast<std::size_t>(world.rank())] =
          train_small(world, run).experts.at(0);
    });
    return said;
  }

  SmallRun run;

 private:
  const ScratchFolder folder_;
};

TEST(ExpertFigures, AreTheSameOnAnyNumberOfRanks) {
  OneStepOn step;
  const std::string one = step.on(1)[0];
  EXPECT_NE(one.find(R"("layer":"h.1.mlp","n":12,"tokens":96,)"), one.npos)
      << one;
  // On three, one has a sample less, and takes one again that counts nothing.
  for (const int ranks : {2, 3}) {
    for (const auto& said : step.on(ranks)) EXPECT_EQ(said, one) << ranks;
  }
  step.run.micro_batch = 0;
  step.run.tp = 2;
  for (const Plan plan : {Plan::sequence, Plan::bottleneck}) {
    step.run.plan = plan;
    for (const auto& said : step.on(4)) EXPECT_EQ(said, one);
  }
}

TEST(ExpertFigures, AreOfTheStepsThatAreAskedFor) {
  const auto self = dist::make_self_communicator(at::kCPU);
  SmallRun run;
  run.steps = 6;
  const RunResult none = train_small(*self, run);
  run.experts_every = 2;
  const RunResult some = train_small(*self, run);
  for (std::size_t s = 0; s < 6; ++s) {
    EXPECT_EQ(none.experts[s], "[]");
    EXPECT_EQ(some.experts[s] == "[]", s % 2 == 0) << s;
  }
  EXPECT_TRUE(at::equal(some.weights, none.weights)) << "looking changes it";
  run.mlp = "dense";
  EXPECT_EQ(train_small(*self, run).experts[1], "[]");
}

TEST(ExpertFigures, OfABadStepThereAreNone) {
  const ScratchFolder folder;
  const auto self = dist::make_self_communicator(at::kCPU);
  SmallRun run;
  run.steps = 4;
  run.experts_every = 1;
  run.bad_step = run::BadStep::skip;
  run.out = folder.path();
  int step = 0;
  run.spoil = [&](const at::Tensor& loss) {
    return ++step == 3 ? loss * NAN : loss;
  };
  train_small(*self, run);
  const std::string text = read_file(folder.path() / "metrics.jsonl");
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = text.find("\"experts\"", at)) != text.npos;) {
    ++lines;
    ++at;
  }
  EXPECT_EQ(lines, 3u) << text;
  EXPECT_NE(text.find(R"("load":[1,1,1,1,1])"), text.npos)
      << "at the start all are used evenly";
}

TEST(ExpertFigures, AreToldInALine) {
  const std::vector<ExpertFigures> two = {
      {.active = 0.1, .dead = 2, .effective = 10},
      {.active = 0.3, .dead = 3, .effective = 30}};
  EXPECT_EQ(describe(two), "experts 20.0% active, 5 dead, 20.0 effective");
}

}  // namespace
}  // namespace mumoe::train

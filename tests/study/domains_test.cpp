#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <numeric>

#include "base/random.h"
#include "data/text/token_windows.h"
#include "dist/process_mesh.h"
#include "study/experts/domain_information.h"
#include "study/experts/hidden_units.h"
#include "study/experts/linear_probe.h"
#include "study/experts/mean_routing.h"
#include "tests/study/error_of.h"
#include "tests/support/scratch.h"
#include "tests/support/sharded_model.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::study {
namespace {

using testing::ShardedModel;

/// Rows of coefficients of `experts` experts: those of label s lean towards
/// expert s by `lean`.
LabelledRows routed(std::size_t rows, std::size_t labels, double lean) {
  const CounterRandom random(8, Purpose::test);
  const std::size_t experts = labels + 2;
  LabelledRows made{.width = experts, .labels = labels};
  for (std::size_t r = 0; r < rows; ++r) {
    made.label.push_back(r * labels / rows);
    double sum = 0;
    for (std::size_t n = 0; n < experts; ++n) {
      const double each =
          random.uniform(r * experts + n) + (n == made.label.back() ? lean : 0);
      made.values.push_back(each);
      sum += each;
    }
    for (std::size_t n = 0; n < experts; ++n) {
      made.values[made.values.size() - 1 - n] /= sum;
    }
  }
  return made;
}

double entropy_of(const std::vector<double>& masses) {
  const double sum = std::accumulate(masses.begin(), masses.end(), 0.0);
  double entropy = 0;
  for (const double mass : masses) {
    if (mass > 0) entropy -= mass / sum * std::log(mass / sum);
  }
  return entropy;
}

TEST(MutualInformation, IsThatOfEntropies) {
  const std::vector<double> joint = {0.3, 0, 2, 1, 0.5, 0.25};
  const std::vector<double> rows = {2.3, 1.75}, columns = {1.3, 0.5, 2.25};
  EXPECT_NEAR(mutual_information(joint, 3),
              entropy_of(rows) + entropy_of(columns) - entropy_of(joint),
              1e-14);
  EXPECT_NEAR(mutual_information(std::vector{1.0, 2.0, 2.0, 4.0}, 2), 0, 1e-15);
  EXPECT_NEAR(mutual_information(std::vector{3.0, 0.0, 0.0, 3.0}, 2),
              std::log(2.0),
              1e-15);
  EXPECT_EQ(mutual_information(std::vector{0.0, 0.0}, 2), 0);
}

TEST(DomainInformation, LiesBetweenItsBounds) {
  const LabelledRows rows = routed(120, 3, 0.5);
  const DomainInformation found = domain_information(rows, 60);
  // By hand, of the joint of all rows.
  std::vector<double> joint(rows.labels * rows.width);
  for (std::size_t r = 0; r < rows.rows(); ++r) {
    for (std::size_t n = 0; n < rows.width; ++n) {
      joint[n * rows.labels + rows.label[r]] += rows.row(r)[n];
    }
  }
  EXPECT_NEAR(found.information, mutual_information(joint, rows.labels), 1e-12);
  EXPECT_NEAR(found.oracle, std::log(3.0), 1e-12);
  EXPECT_GT(found.shuffled, 0);
  EXPECT_LE(found.shuffled, found.shuffled_high);
  EXPECT_LT(found.shuffled_high, found.information);
  EXPECT_LT(found.information, found.oracle);
  ASSERT_TRUE(found.interval);
  EXPECT_LT(found.interval->low, found.information);
  EXPECT_GT(found.interval->high, found.information);
  EXPECT_GT(found.share(), 0.01);
  EXPECT_LT(found.share(), 0.5);

  const DomainInformation nothing = domain_information(routed(120, 3, 0), 60);
  EXPECT_LT(nothing.information, nothing.shuffled_high * 1.5);
  EXPECT_LT(nothing.information, found.information / 20);

  LabelledRows sure{.width = 3, .labels = 3};
  for (std::size_t r = 0; r < 60; ++r) {
    sure.label.push_back(r % 3);
    for (std::size_t n = 0; n < 3; ++n) sure.values.push_back(n == r % 3);
  }
  EXPECT_NEAR(domain_information(sure, 20).share(), 1, 1e-12);
}

TEST(LinearClassifier, EndsWhereItsLossIsLeast) {
  const LabelledRows rows = routed(90, 3, 0.4);
  const Halves halves = halves_of(rows);
  const double l2 = 0.01;
  const LinearClassifier found(rows, halves.train, l2);
  EXPECT_LT(found.gradient(), 1e-5);

  // Its weights, of standardised columns, as its scores tell them; where the
  // gradient of a convex function is zero, it is least.
  const at::Tensor x = at::from_blob(const_cast<double*>(rows.values.data()),
                                     {90, 5},
                                     at::kDouble);
  std::vector<std::int64_t> train(halves.train.begin(), halves.train.end());
  std::vector<std::int64_t> labels;
  for (const auto r : halves.train) {
    labels.push_back(static_cast<std::int64_t>(rows.label[r]));
  }
  const at::Tensor x_train = x.index_select(0, at::tensor(train));
  const at::Tensor mean = x_train.mean(0), scale = x_train.std(0, false);
  const auto scores_of = [&](const at::Tensor& row) {
    const double* first = row.const_data_ptr<double>();
    return at::tensor(found.scores({first, first + row.numel()}));
  };
  at::Tensor b = scores_of(mean).requires_grad_();
  at::Tensor w = at::zeros({5, 3}, at::kDouble);
  for (std::int64_t c = 0; c < 5; ++c) {
    at::Tensor row = mean.clone();
    row[c] += scale[c];
    w[c].copy_(scores_of(row) - b.detach());
  }
  w.requires_grad_();
  const at::Tensor loss =
      at::cross_entropy_loss(((x_train - mean) / scale).matmul(w) + b,
                             at::tensor(labels)) +
      0.5 * l2 * w.square().sum();
  EXPECT_NEAR(found.loss(), loss.item<double>(), 1e-10);
  loss.backward();
  EXPECT_LT(w.grad().abs().max().item<double>(), 1e-5);
  EXPECT_LT(b.grad().abs().max().item<double>(), 1e-5);
  EXPECT_GT(w.abs().max().item<double>(), 0.1);
}

TEST(Probe, LearnsFromTheFirstHalfOfEachLabel) {
  LabelledRows rows{.width = 2, .label = {0, 1, 0, 0, 1, 1, 1}, .labels = 2};
  rows.values = {1, 5, 2, 5, 3, 5, 4, 5, 2, 5, 6, 5, 7, 5};
  const Halves halves = halves_of(rows);
  EXPECT_EQ(halves.train, (std::vector<std::size_t>{0, 1, 2, 4}));
  EXPECT_EQ(halves.test, (std::vector<std::size_t>{3, 5, 6}));
  EXPECT_EQ(most_varying(rows, halves.train, 1), (std::vector<std::size_t>{0}));
  EXPECT_EQ(most_varying(rows, halves.train, 9),
            (std::vector<std::size_t>{0, 1}));

  const ProbeResult told = probe(routed(240, 4, 2), 0.01);
  EXPECT_EQ(told.accuracy, 1);
  EXPECT_EQ(told.by_label, std::vector<double>(4, 1));
  const ProbeResult nothing = probe(routed(240, 4, 0), 0.01);
  EXPECT_LT(nothing.accuracy, 0.45);
  ASSERT_TRUE(nothing.interval);
  EXPECT_LE(nothing.interval->low, nothing.accuracy);
  EXPECT_GE(nothing.interval->high, nothing.accuracy);
  EXPECT_NEAR(chance_of(routed(240, 4, 0)), 0.25, 1e-12);
}

constexpr std::int64_t kContext = 8;
constexpr std::int64_t kWindows = 11;

/// The means of a model over dp x tp ranks; of mixtures, or of dense MLPs.
MeanRouting means_of(const std::string& name, int dp, int tp) {
  static const auto cases = testing::sharded_cases();
  const auto& config =
      std::ranges::find(cases, name, &testing::ShardedCase::name)->config;
  testing::ScratchFolder folder;
  std::vector<std::uint16_t> text;
  const CounterRandom random(8, Purpose::test);
  for (std::uint64_t i = 0; i < kWindows * kContext + 1; ++i) {
    text.push_back(static_cast<std::uint16_t>(random.below(i, 19)));
  }
  data::write_token_file(folder.path() / "tokens.bin", text);
  const data::TokenFile tokens(folder.path() / "tokens.bin");
  const data::TokenWindows windows(tokens, kContext);
  std::vector<std::uint64_t> indices(kWindows);
  std::iota(indices.rbegin(), indices.rend(), 0);
  MeanRouting found;
  std::mutex mutex;
  dist::ThreadWorld::run(dp * tp, [&](dist::Communicator& world) {
    dist::ProcessMesh mesh(world, dp, tp);
    ShardedModel model(config, Plan::bottleneck, mesh.tp(), at::kFloat);
    const auto batches = train::in_batches(indices, 3);
    MeanRouting here;
    if (config.dense) {
      here = mean_hidden_units(model.gpt2,
                               {mesh, at::kCPU},
                               windows,
                               batches,
                               "a run");
    } else {
      const RoutingPass pass(model.gpt2, {mesh, at::kCPU}, "a run");
      here = mean_routing(pass, windows, batches, mesh.control());
    }
    const std::lock_guard lock(mutex);
    found = std::move(here);
  });
  return found;
}

TEST(MeanRouting, IsOfEachSampleAndTheSameOverAnyNumberOfRanks) {
  for (const std::string name : {"cp_7_two_levels", "dense"}) {
    const MeanRouting one = means_of(name, 1, 1);
    const bool dense = name == "dense";
    ASSERT_EQ(one.gates.size(), dense ? 2 : 4) << name;
    EXPECT_EQ(one.width, dense ? 60u : 22u);
    EXPECT_EQ(one.samples, 11u);
    EXPECT_EQ(one.begin(1), dense ? 30u : 6u);
    for (std::size_t r = 0; r < one.samples && !dense; ++r) {
      double sum = 0;
      for (std::size_t n = 0; n < 6; ++n) sum += one.means[r * one.width + n];
      EXPECT_NEAR(sum, 1, 1e-6);
    }
    EXPECT_NE(one.means[0], one.means[one.width]) << "rows are of samples";
    for (const int dp : {2, 3}) {
      EXPECT_EQ(means_of(name, dp, 1).means, one.means) << name << " " << dp;
    }
  }
  const MeanRouting cut = means_of("cp_7_two_levels", 1, 2);
  EXPECT_EQ(cut.samples, 11u);
  EXPECT_NEAR(cut.means[30], means_of("cp_7_two_levels", 1, 1).means[30], 1e-6);
  EXPECT_NE(testing::error_of([] {
              means_of("dense", 1, 2);
            }).find("a run: parallel.tp = 2 cuts its hidden units"),
            std::string::npos);
}

}  // namespace
}  // namespace mumoe::study

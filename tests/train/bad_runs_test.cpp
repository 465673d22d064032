// Runs with bad samples among theirs: left out, or gone back behind.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/train/bad_run.h"

namespace mumoe {
namespace {

using nlohmann::json;
using run::BadStep;
using testing::alone;
using testing::bad_run;
using testing::kNan;
using testing::lines_of;
using testing::RunResult;
using testing::ScratchFolder;
using testing::SmallRun;
using testing::Told;
using testing::told_in;
using testing::train_over;
using testing::up_to;

/// Samples in their order, but `count` from `first` on are not there.
class Shortened final : public data::Sequence {
 public:
  Shortened(const data::Samples& samples,
            const data::SampleOrder& order,
            std::uint64_t first,
            std::uint64_t count)
      : sequence_(samples, order), first_(first), count_(count) {}
  const data::SampleOrder& order() const override { return sequence_.order(); }
  data::HostBatch make(std::span<const std::uint64_t> numbers) const override {
    std::vector<std::uint64_t> others(numbers.begin(), numbers.end());
    for (auto& number : others) number += number >= first_ ? count_ : 0;
    return sequence_.make(others);
  }

 private:
  data::OrderedSamples sequence_;
  std::uint64_t first_;
  std::uint64_t count_;
};

auto without(std::uint64_t first, std::uint64_t count) {
  return [=](const auto& samples, const auto& order) {
    return std::make_unique<Shortened>(samples, order, first, count);
  };
}

/// Indices of samples [first, last) of a `SmallRun`.
json indices(std::uint64_t first, std::uint64_t last) {
  const ScratchFolder scratch;
  const auto tokens = testing::make_tokens(scratch.path() / "train.bin", 1);
  const data::TokenWindows windows(tokens, 12, 11);
  const data::Order order(11, windows.size());
  json all = json::array();
  for (; first < last; ++first) all.push_back(order.index(first));
  return all;
}

struct Layout {
  int dp;
  int tp;
  int zero;
};
constexpr Layout kLayouts[] = {{1, 1, 0}, {2, 1, 0}, {2, 1, 1}, {1, 2, 0}};

TEST(BadRuns, ASkippedStepIsAsIfItHadNotBeen) {
  SmallRun run = bad_run(BadStep::skip);
  run.steps = 9;
  SmallRun other = run;
  other.steps = 8;
  other.sequence = without(32, 8);
  const at::Tensor expected = alone(other).weights;
  for (const auto& [dp, tp, zero] : kLayouts) {
    SCOPED_TRACE(::testing::Message() << dp << "x" << tp << " " << zero);
    run.zero = other.zero = zero;
    const RunResult found = train_over(dp, tp, run);
    EXPECT_TRUE(at::equal(found.weights, train_over(dp, tp, other).weights));
    EXPECT_LT(testing::relative_error(found.weights, expected), 1e-10);
    EXPECT_EQ(found.state.step, 9);
    EXPECT_EQ(found.state.samples, 72);
    EXPECT_EQ(found.state.skipped, 1);
    EXPECT_TRUE(std::isnan(found.losses[4]));
  }
  run.spoil_batch = nullptr;
  EXPECT_FALSE(at::equal(alone(run).weights, expected));
}

TEST(BadRuns, ASpikeIsSkippedOnlyWhereAskedFor) {
  SmallRun run = bad_run(BadStep::skip, {{90, 1000}});
  run.steps = 14;
  run.spike_window = 8;
  EXPECT_EQ(alone(run).state.skipped, 0);
  run.spike = 50;
  const RunResult found = alone(run);
  EXPECT_EQ(found.state.skipped, 1);
  EXPECT_GT(found.losses[11], 100);
  // The spike counts among the steps before the next.
  ASSERT_TRUE(found.state.spikes);
  EXPECT_EQ(found.state.spikes->losses,
            std::vector<double>(found.losses.end() - 8, found.losses.end()));
  EXPECT_EQ(found.state.spikes->norms,
            std::vector<double>(found.norms.end() - 8, found.norms.end()));
}

TEST(BadRuns, ARewoundRunNeverTookTheSamples) {
  SmallRun run = bad_run(BadStep::rewind);
  run.steps = 9;
  SmallRun other = run;
  other.sequence = without(24, 16);
  for (const auto& [dp, tp, zero] : kLayouts) {
    SCOPED_TRACE(::testing::Message() << dp << "x" << tp << " " << zero);
    run.zero = other.zero = zero;
    const ScratchFolder folder;
    run.out = folder.path();
    run.checkpoint_every = 3;
    const RunResult found = train_over(dp, tp, run);
    EXPECT_TRUE(at::equal(found.weights, train_over(dp, tp, other).weights));
    EXPECT_EQ(found.state.step, 9);
    EXPECT_EQ(found.state.samples, 88);
    EXPECT_EQ(found.state.skipped, 0);
    const Told told = told_in(folder.path());
    EXPECT_EQ(told.steps, up_to(9));
    ASSERT_EQ(told.events.size(), 1u);
    const json expected = {{"event", "bad_step"},
                           {"step", 5},
                           {"action", "rewind"},
                           {"loss", nullptr},
                           {"grad_norm", nullptr},
                           {"ranks", tp == 2 ? json{0, 1} : json{dp - 1}},
                           {"samples", {32, 8}},
                           {"indices", indices(dp == 2 ? 36 : 32, 40)}};
    EXPECT_EQ(told.events[0], expected);
    // Saved again, at a step that it had come to before.
    EXPECT_TRUE(exists(folder.path() / "checkpoints/step_00000006"));
  }
}

TEST(BadRuns, ResumeWithTheSameBits) {
  for (const BadStep action : {BadStep::skip, BadStep::rewind}) {
    SCOPED_TRACE(train::name_of(action));
    // NaN in step 5, then a spike that only the checkpoint's steps tell.
    SmallRun run = bad_run(action, {{37, kNan}, {106, 1000}});
    run.spike = 50;
    run.spike_window = 8;
    run.checkpoint_every = 3;
    const ScratchFolder whole, parts;
    run.steps = 16;
    run.out = whole.path();
    const RunResult expected = alone(run);
    ASSERT_EQ(told_in(whole.path()).events.size(), 2u);

    run.out = parts.path();
    run.steps = 6;
    alone(run);
    ASSERT_EQ(told_in(parts.path()).events.size(), 1u);
    // From before the bad step, and from behind it.
    std::filesystem::remove_all(parts.path() / "checkpoints/step_00000006");
    run.resume = true;
    alone(run);
    ASSERT_EQ(told_in(parts.path()).events.size(), 1u);
    run.steps = 16;
    const RunResult found = alone(run);
    EXPECT_TRUE(at::equal(found.weights, expected.weights));
    EXPECT_EQ(found.state, expected.state);
    EXPECT_EQ(lines_of(parts.path()), lines_of(whole.path()));
    EXPECT_EQ(told_in(parts.path()).steps, up_to(16));
  }
}

}  // namespace
}  // namespace mumoe

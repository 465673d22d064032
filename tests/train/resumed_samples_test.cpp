// What a run on disk says of the samples it took, and a resumed one that took
// others.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/file.h"
#include "dist/self_communicator.h"
#include "run/manifest.h"
#include "tests/support/errors.h"
#include "tests/support/thread_communicator.h"
#include "tests/train/small_run.h"

namespace mumoe {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;
using testing::SmallRun;
using testing::train_small;

/// Batches of other numbers than those that were dealt.
class Shifted final : public data::Sequence {
 public:
  Shifted(const data::Samples& samples,
          const data::SampleOrder& order,
          std::int64_t by)
      : sequence_(samples, order), by_(by) {}
  const data::SampleOrder& order() const override { return sequence_.order(); }
  data::HostBatch make(std::span<const std::uint64_t> numbers) const override {
    std::vector<std::uint64_t> others(numbers.begin(), numbers.end());
    for (std::uint64_t& number : others) number += by_;
    return sequence_.make(others);
  }

 private:
  data::OrderedSamples sequence_;
  std::int64_t by_;
};

std::vector<nlohmann::json> lines_of(const std::filesystem::path& folder) {
  std::vector<nlohmann::json> lines;
  std::istringstream in(read_file(folder / "metrics.jsonl"));
  for (std::string line; std::getline(in, line);) {
    lines.push_back(nlohmann::json::parse(line));
  }
  return lines;
}

/// A run of one rank that was stopped after step 3.
class ResumedSamples : public ::testing::Test {
 protected:
  ResumedSamples() {
    run_.out = folder_.path();
    run_.steps = 3;
    train_small(*self_, run_);
    run_.steps = 6;
    run_.resume = true;
  }

  std::filesystem::path checkpoint() const {
    return folder_.path() / "checkpoints/step_00000003";
  }
  /// What the checkpoint says of the run, changed by `edit`.
  template <class Edit>
  void edit_state(const Edit& edit) const {
    run::Manifest manifest = run::read_manifest(checkpoint());
    edit(manifest.state);
    write_file_atomically(checkpoint() / run::kManifest,
                          run::manifest_text(manifest));
  }

  const ScratchFolder folder_;
  const std::unique_ptr<dist::Communicator> self_ =
      dist::make_self_communicator(at::kCPU);
  SmallRun run_;
};

TEST_F(ResumedSamples, AreTheSameAtEveryLayoutAndAfterAnyStop) {
  const ScratchFolder whole;
  SmallRun run;
  run.out = whole.path();
  run.steps = 6;
  dist::ThreadWorld::run(3, [&](dist::Communicator& world) {
    train_small(world, run);
  });
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    train_small(world, run_);
  });
  const auto parts = lines_of(folder_.path()), at_once = lines_of(whole.path());
  ASSERT_EQ(parts.size(), 6u);
  ASSERT_EQ(at_once.size(), 6u);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string hash = parts[i]["samples_hash"];
    EXPECT_EQ(hash, at_once[i]["samples_hash"].get<std::string>());
    EXPECT_TRUE(std::regex_match(hash, std::regex("[0-9a-f]{16}"))) << hash;
    const std::string before = i > 0 ? parts[i - 1]["samples_hash"] : "";
    EXPECT_NE(hash, before);
  }
}

TEST_F(ResumedSamples, OfOtherNumbersAreRefusedBeforeTheWeightsChange) {
  // From the beginning, a step ahead, and an epoch later.
  for (const std::int64_t by : {-24, 8, 249}) {
    SCOPED_TRACE(by);
    run_.sequence = [by](const auto& samples, const auto& order) {
      return std::make_unique<Shifted>(samples, order, by);
    };
    expect_input_error(
        [&] { train_small(*self_, run_); },
        {checkpoint().string(), "step 4 took samples of digest"});
    EXPECT_EQ(lines_of(folder_.path()).size(), 3u) << "nothing was written";
    EXPECT_EQ(run::latest_checkpoint(folder_.path() / "checkpoints"),
              checkpoint());
  }
  run_.sequence = nullptr;
  train_small(*self_, run_);
  EXPECT_EQ(lines_of(folder_.path()).size(), 6u);
}

TEST_F(ResumedSamples, AllRanksRefuseWhatOneHas) {
  std::atomic<int> refused = 0;
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    SmallRun run = run_;
    run.sequence = [&](const auto& samples, const auto& order) {
      return std::make_unique<Shifted>(samples, order, -4 * world.rank());
    };
    try {
      train_small(world, run);
    } catch (const InputError&) {
      ++refused;
    }
  });
  EXPECT_EQ(refused, 2);
}

TEST_F(ResumedSamples, RanksOfATensorParallelGroupMustTakeTheSame) {
  std::atomic<int> refused = 0;
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    SmallRun run = run_;
    run.tp = 2;
    run.sequence = [&](const auto& samples, const auto& order) {
      return std::make_unique<Shifted>(samples, order, 8 * world.rank());
    };
    try {
      train_small(world, run);
    } catch (const InputError& error) {
      refused += std::string(error.what()).find("step 4 ranks of a tensor") !=
                 std::string::npos;
    }
  });
  EXPECT_EQ(refused, 2);
  EXPECT_EQ(lines_of(folder_.path()).size(), 3u) << "nothing was written";
}

TEST_F(ResumedSamples, MetricsOfAnotherRunAreRefused) {
  const auto file = folder_.path() / "metrics.jsonl";
  const std::string text = read_file(file);
  auto last = lines_of(folder_.path()).back();
  last["samples_hash"] = "0123456789abcdef";
  std::string other = text.substr(0, text.find("{\"step\":3"));
  other += last.dump() + "\n";
  write_file_atomically(file, other);
  std::atomic<int> refused = 0;
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    try {
      train_small(world, run_);
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what())
                    .find("samples_hash of step 3 is 0123456789abcdef"),
                std::string::npos)
          << error.what();
      ++refused;
    }
  });
  EXPECT_EQ(refused, 2);
  EXPECT_EQ(read_file(file), other);
}

TEST_F(ResumedSamples, CheckpointsThatSayNothingOfThemResume) {
  edit_state([](run::RunState& state) { state.taken.reset(); });
  std::string metrics = read_file(folder_.path() / "metrics.jsonl");
  metrics = std::regex_replace(metrics,
                               std::regex(",\"samples_hash\":\"[0-9a-f]*\""),
                               "");
  write_file_atomically(folder_.path() / "metrics.jsonl", metrics);
  const auto resumed = train_small(*self_, run_);
  SmallRun whole;
  whole.steps = 6;
  EXPECT_TRUE(at::equal(resumed.weights, train_small(*self_, whole).weights));
  const auto lines = lines_of(folder_.path());
  EXPECT_FALSE(lines[2].contains("samples_hash"));
  EXPECT_TRUE(lines[3].contains("samples_hash"));
}

TEST_F(ResumedSamples, APositionThatIsNotTheirsIsRefused) {
  edit_state([](run::RunState& state) { state.samples = 16; });
  expect_input_error([&] { train_small(*self_, run_); }, {"step 4 took"});
}

}  // namespace
}  // namespace mumoe

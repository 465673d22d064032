// What is on the disk after a power cut at any instant of saves by four ranks:
// a whole checkpoint, and none that is not. And each call and meeting of the
// code that is there for this is needed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "run/checkpoint_saver.h"
#include "tests/run/crash_checker.h"
#include "tests/run/saved_buckets.h"
#include "tests/support/crash_states.h"
#include "tests/support/scratch.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using testing::CrashOptions;
using testing::CrashState;
using testing::DiskEvent;
using testing::SavedBuckets;

constexpr int kRanks = 4;
constexpr const char* kFolder = testing::kCrashedFolder;

/// Saves of four ranks. The first save is that of step 1.
struct Scenario {
  const char* name;
  bool async;
  bool parity;
  std::vector<std::int64_t> steps;
};
const Scenario kScenarios[] = {{"Sync", false, false, {1, 2, 3}},
                               {"Async", true, false, {1, 2, 3}},
                               {"Again", false, false, {1, 2, 2, 3}},
                               {"Parity", true, true, {1, 2, 3}}};

/// One rank's saves. Each begins when the one before is published, which then
/// still has to be read again.
void save_all(dist::Communicator& world,
              const Scenario& scenario,
              const fs::path& root,
              testing::DiskRecord& record) {
  SavedBuckets saved(world, {.dp = 2, .tp = 2, .zero = 1});
  testing::RecordedCollectives meetings(record, world.rank());
  testing::RecordingDisk disk(record, root, world.rank());
  world.observe(meetings);
  CheckpointSaver saver({.folder = root / kFolder,
                         .keep = 1,
                         .async = scenario.async,
                         .parity = scenario.parity},
                        saved.mesh,
                        saved.buckets,
                        disk);
  int save = 0;
  for (const std::int64_t step : scenario.steps) {
    saved.fill(++save);
    saver.begin(SavedBuckets::state(step, save), saved.optimizer);
    if (scenario.async) saved.fill(100 + save);  // the run goes on
    while (saver.busy() && !saver.published()) {
      if (scenario.async) {
        // As the trainer agrees, in a sum of its own.
        const at::Tensor ready = at::full({1}, saver.ready() ? 1. : 0.);
        saved.mesh.dp_tp().all_reduce(ready, dist::ReduceOp::min);
        if (ready.item<float>() < 1) {
          std::this_thread::yield();
          continue;
        }
      }
      saver.advance();
    }
    const auto result = saver.take_result();
    ASSERT_TRUE(result && result->failure.empty());
    EXPECT_EQ(result->note, "");
    record.add({.kind = DiskEvent::Kind::published,
                .rank = world.rank(),
                .save = save});
  }
  saver.finish();
  EXPECT_FALSE(saver.take_result());
  world.unobserve(meetings);
}

std::vector<DiskEvent> record_of(const Scenario& scenario) {
  const testing::ScratchFolder folder;
  testing::DiskRecord record;
  dist::ThreadWorld::run(kRanks, [&](dist::Communicator& world) {
    save_all(world, scenario, folder.path(), record);
  });
  return record.events();
}

bool is_of_checkpoint(const std::string& path) {
  const std::string folder = kFolder;
  return path.starts_with(folder + "/step_") ||
         path.starts_with(folder + "/.step_");
}

class CrashStates : public ::testing::TestWithParam<Scenario> {};

std::size_t states_of_all_scenarios = 0;
double seconds_of_all_scenarios = 0;

TEST_P(CrashStates, HaveAWholeCheckpointThatIsNotTooOld) {
  const auto began = std::chrono::steady_clock::now();
  const auto record = record_of(GetParam());
  testing::CrashChecker checker;
  std::size_t visited = 0;
  CrashOptions options;
  options.may_be_damaged = is_of_checkpoint;
  each_crash(record, kRanks, options, [&](const CrashState& state) {
    ++visited;
    const std::string problem = checker.problem(state);
    EXPECT_EQ(problem, "") << state.describe();
    return problem.empty();
  });
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - began;
  states_of_all_scenarios += checker.states();
  seconds_of_all_scenarios += took.count();
  fmt::print(
      "{}: {} calls and meetings, {} states of a disk, {} different, "
      "{:.1f} s; {} so far, {:.1f} s\n",
      GetParam().name,
      record.size(),
      visited,
      checker.states(),
      took.count(),
      states_of_all_scenarios,
      seconds_of_all_scenarios);
  EXPECT_GT(checker.states(), 3000u);
}

/// Whether nothing can be lost without it. No older checkpoint goes before the
/// first has been read again, but what was read in the stage that wrote it must
/// have been written; and where a step is saved again, `latest` says what it
/// said: of the two times that its folder is synced, one would do. What ranks
/// read to write parity, for which all parts must be there, is no call; of
/// files of one block only two ranks have any.
bool is_needless(const Scenario& scenario, const testing::Mutation& mutation) {
  const auto has = [&](const char* text) {
    return mutation.what.find(text) != std::string::npos;
  };
  if ((has("forget run/checkpoints/step_00000001/") ||
       has("forget run/checkpoints/.step_00000001.tmp/")) &&
      !(scenario.async && mutation.is_meeting)) {
    return true;
  }
  if (scenario.parity && mutation.is_meeting && has(".tmp/rank_")) return true;
  if (has("parity_00002.bin, ") || has("parity_00003.bin, ")) return true;
  const auto save = static_cast<std::size_t>(mutation.published);
  return save > 0 && save < scenario.steps.size() &&
         scenario.steps[save] == scenario.steps[save - 1] &&
         has("sync_folder run/checkpoints, ") &&
         (has("rename run/checkpoints/.step_") || has("/latest"));
}

TEST_P(CrashStates, AreBadWithoutAnyOneCallOrMeeting) {
  const auto record = record_of(GetParam());
  testing::CrashChecker checker;
  int needed = 0, needless = 0;
  for (const auto& mutation : testing::mutations_of(record, kRanks)) {
    CrashOptions options;
    options.from = mutation.from;
    options.cuts = 10;
    options.samples = 4;
    options.exhaustive = mutation.is_meeting ? 6 : 12;
    // Where ranks may do what they should not, in any order of theirs.
    options.any_cuts = mutation.is_meeting;
    options.may_be_damaged = is_of_checkpoint;
    std::string problem;
    each_crash(mutation.events, kRanks, options, [&](const CrashState& state) {
      problem = checker.problem(state);
      return problem.empty();
    });
    EXPECT_EQ(problem.empty(), is_needless(GetParam(), mutation))
        << "without " << mutation.what << ": " << problem;
    (problem.empty() ? needless : needed) += 1;
  }
  fmt::print("{}: {} left out, one at a time: {} are needed, {} could not be\n",
             GetParam().name,
             needed + needless,
             needed,
             needless);
}

INSTANTIATE_TEST_SUITE_P(All,
                         CrashStates,
                         ::testing::ValuesIn(kScenarios),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace mumoe::run

// What is on the disk after a power cut at any instant of saves by four ranks:
// a whole checkpoint, and none that is not. And each call and meeting of the
// code that is there for this is needed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <optional>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "dist/self_communicator.h"
#include "run/checkpoint_saver.h"
#include "run/load_checkpoint.h"
#include "run/newest_checkpoint.h"
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
using testing::DiskImage;
using testing::SavedBuckets;

constexpr int kRanks = 4;
constexpr const char* kFolder = "run/checkpoints";

/// Saves of four ranks. The first save is that of step 1.
struct Scenario {
  const char* name;
  bool async;
  std::vector<std::int64_t> steps;
};
const Scenario kScenarios[] = {{"Sync", false, {1, 2, 3}},
                               {"Async", true, {1, 2, 3}},
                               {"Again", false, {1, 2, 2, 3}},
                               {"AsyncAgain", true, {1, 2, 2, 3}}};

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
  CheckpointSaver saver(
      {.folder = root / kFolder, .keep = 1, .async = scenario.async},
      saved.mesh,
      saved.buckets,
      disk);
  int save = 0;
  for (const std::int64_t step : scenario.steps) {
    saved.fill(++save);
    saver.begin(SavedBuckets::state(step, save), saved.optimizer);
    if (scenario.async) saved.fill(100 + save);  // the run goes on
    while (!saver.published()) {
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

/// A folder that becomes what a disk is after a crash; in memory, if it can be.
class Replayed {
 public:
  Replayed() {
    std::error_code error;
    fs::path shm = "/dev/shm";
    if (!fs::is_directory(shm, error)) shm = fs::temp_directory_path();
    root_ = shm / fmt::format("mumoe_crash_{}_{}", ::getpid(), fmt::ptr(this));
    fs::create_directories(root_);
  }
  ~Replayed() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  Replayed(const Replayed&) = delete;
  Replayed& operator=(const Replayed&) = delete;

  fs::path folder() const { return root_ / kFolder; }

  /// Changes what is different.
  void become(const DiskImage& image) {
    for (auto old = there_.rbegin(); old != there_.rend(); ++old) {
      const auto found = image.find(old->first);
      if (found == image.end() || !same(*found, *old)) {
        fs::remove(root_ / old->first);
      }
    }
    for (const auto& entry : image) {
      const auto found = there_.find(entry.first);
      if (found != there_.end() && same(*found, entry)) continue;
      if (entry.second == nullptr) {
        fs::create_directory(root_ / entry.first);
      } else {
        std::ofstream(root_ / entry.first, std::ios::binary)
            << entry.second->bytes;
      }
    }
    there_ = image;
  }

 private:
  static bool same(const DiskImage::value_type& a,
                   const DiskImage::value_type& b) {
    if (!a.second || !b.second) return !a.second && !b.second;
    return a.second->bytes == b.second->bytes;
  }

  fs::path root_;
  DiskImage there_;
};

std::size_t mixed(std::size_t hash, std::size_t with) {
  return (hash ^ with) * 0x9e3779b97f4a7c15u + (hash >> 29);
}

std::size_t hash_of_files(const DiskImage& image, const std::string& below) {
  std::size_t hash = 1;
  for (const auto& [path, content] : image) {
    if (!path.starts_with(below)) continue;
    hash = mixed(hash, std::hash<std::string>()(path));
    hash = mixed(hash, content ? content->hash : 7);
  }
  return hash;
}

/// Looks at what is there as a run that begins does.
class Checker {
 public:
  /// What is wrong with the state; empty: nothing.
  std::string problem(const CrashState& state) {
    if (!state.failed.empty()) return "a call fails: " + state.failed;
    std::size_t key = hash_of_files(state.image, "");
    key = mixed(mixed(key, state.published), state.damaged ? 1 : 0);
    const auto [known, is_new] = verdicts_.try_emplace(key);
    if (!is_new) return known->second;
    disk_.become(state.image);
    return known->second =
               state.damaged ? after_damage(state) : after_crash(state);
  }

  std::size_t states() const { return verdicts_.size(); }

 private:
  /// What came of loading a checkpoint.
  struct Outcome {
    int save = 0;
    std::int64_t step = 0;
    std::string error = {};
  };

  const Outcome& load(const CrashState& state, const fs::path& checkpoint) {
    const std::string below =
        fmt::format("{}/{}/", kFolder, checkpoint.filename().string());
    const std::size_t key = hash_of_files(state.image, below);
    const auto [known, is_new] = loaded_.try_emplace(key);
    if (is_new) known->second = load(checkpoint);
    return known->second;
  }

  Outcome load(const fs::path& checkpoint) {
    try {
      saved_.fill(99);
      const RunState state =
          load_checkpoint(checkpoint, saved_.buckets, saved_.optimizer, *self_)
              .state;
      const int save = static_cast<int>(state.samples);
      EXPECT_EQ(state, SavedBuckets::state(state.step, save));
      const std::string different = saved_.differences(save);
      if (different.empty()) return {save, state.step};
      return {.error = "other values:" + different};
    } catch (const Error& error) {
      return {.error = error.what()};
    }
  }

  std::string after_crash(const CrashState& state) {
    std::optional<NewestCheckpoint> newest;
    try {
      newest = newest_checkpoint(disk_.folder());
    } catch (const Error& error) {
      return error.what();
    }
    std::unordered_set<std::int64_t> steps;
    for (const auto& each : list_checkpoints(disk_.folder())) {
      const Outcome& outcome = load(state, each.path);
      if (!outcome.error.empty()) return outcome.error;
      if (outcome.step != each.step) return "another step";
      steps.insert(each.step);
    }
    if (!newest && state.published > 0) return "none is found";
    if (newest && !newest->passed_by.empty()) return newest->passed_by.front();
    if (newest && newest->state.samples < state.published) {
      return "it is too old";
    }
    return about_latest(state, steps);
  }

  /// It names a checkpoint that is there, if only under the other name of the
  /// step.
  static std::string about_latest(
      const CrashState& state,
      const std::unordered_set<std::int64_t>& steps) {
    const auto latest = state.image.find(std::string(kFolder) + "/latest");
    if (latest == state.image.end()) {
      return state.published > 0 ? "nothing is named the latest" : "";
    }
    std::string name = latest->second->bytes;
    if (!name.ends_with('\n')) return "latest is not whole: " + name;
    name.pop_back();
    const auto step = step_in_name(name);
    return step && steps.contains(*step) ? "" : "latest names none: " + name;
  }

  /// The disk has lost a byte of a checkpoint that nobody has read again: the
  /// one before is still there.
  std::string after_damage(const CrashState& state) {
    if (state.published < 2) return {};
    Damage known;
    try {
      for (;;) {
        const auto newest = newest_checkpoint(disk_.folder(), known);
        if (!newest) return *state.damaged + " is damaged: none is found";
        const Outcome& outcome = load(state, newest->path);
        if (outcome.error.empty()) {
          return outcome.save < state.published - 1 ? "it is too old" : "";
        }
        known[newest->path] = outcome.error;
      }
    } catch (const Error& error) {
      return error.what();
    }
  }

  Replayed disk_;
  std::unique_ptr<dist::Communicator> self_ =
      dist::make_self_communicator(at::kCPU);
  SavedBuckets saved_{*self_, {}};
  std::unordered_map<std::size_t, Outcome> loaded_;
  std::unordered_map<std::size_t, std::string> verdicts_;
};

bool is_of_checkpoint(const std::string& path) {
  return path.starts_with(std::string(kFolder) + "/step_");
}

class CrashStates : public ::testing::TestWithParam<Scenario> {};

std::size_t states_of_all_scenarios = 0;
double seconds_of_all_scenarios = 0;

TEST_P(CrashStates, HaveAWholeCheckpointThatIsNotTooOld) {
  const auto began = std::chrono::steady_clock::now();
  const auto record = record_of(GetParam());
  Checker checker;
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

/// Whether there is nothing that could be lost without it: no older checkpoint
/// goes before the first has been read again.
bool is_of_first_reading(const testing::Mutation& mutation) {
  return mutation.what.find("forget run/checkpoints/step_00000001/") !=
         std::string::npos;
}

TEST_P(CrashStates, AreBadWithoutAnyOneCallOrMeeting) {
  const auto record = record_of(GetParam());
  Checker checker;
  std::size_t bad = 0, exempt = 0;
  for (const auto& mutation : testing::mutations_of(record, kRanks)) {
    auto t0=std::chrono::steady_clock::now();
    const bool first = is_of_first_reading(mutation);
    CrashOptions options;
    options.from = mutation.from;
    options.cuts = 10;
    options.samples = 4;
    // Where ranks may do what they should not, in any order of theirs.
    options.any_cuts = mutation.is_meeting;
    options.may_be_damaged = is_of_checkpoint;
    std::string problem;
    each_crash(mutation.events, kRanks, options, [&](const CrashState& state) {
      problem = checker.problem(state);
      return problem.empty() && !(first && state.published > 1);
    });
    (first ? exempt : bad) += 1;
    fmt::print("DBG {:.2f} {} {}\n", std::chrono::duration<double>(std::chrono::steady_clock::now()-t0).count(), mutation.what, problem);
    EXPECT_EQ(problem.empty(), first)
        << "without " << mutation.what << ": " << problem;
  }
  fmt::print(
      "{}: {} left out, one at a time: {} are needed, {} are of the "
      "first reading\n",
      GetParam().name,
      bad + exempt,
      bad,
      exempt);
}

INSTANTIATE_TEST_SUITE_P(All,
                         CrashStates,
                         ::testing::ValuesIn(kScenarios),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace mumoe::run

#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "dist/self_communicator.h"
#include "run/load_checkpoint.h"
#include "run/manifest.h"
#include "run/newest_checkpoint.h"
#include "tests/run/saved_buckets.h"
#include "tests/support/crash_states.h"

// Whether what is on a disk after a crash is what must be there.

namespace mumoe::testing {

/// Where the checkpoints are, below the root of the disk.
inline constexpr const char* kCrashedFolder = "run/checkpoints";

/// A folder that becomes what a disk is after a crash; in memory, if it can be.
class CrashedFolder {
 public:
  CrashedFolder() {
    std::error_code error;
    std::filesystem::path shm = "/dev/shm";
    if (!std::filesystem::is_directory(shm, error))
      shm = std::filesystem::temp_directory_path();
    root_ = shm / fmt::format("mumoe_crash_{}_{}", ::getpid(), fmt::ptr(this));
    std::filesystem::create_directories(root_);
  }
  ~CrashedFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  CrashedFolder(const CrashedFolder&) = delete;
  CrashedFolder& operator=(const CrashedFolder&) = delete;

  std::filesystem::path folder() const { return root_ / kCrashedFolder; }

  /// Changes what is different.
  void become(const DiskImage& image) {
    for (auto old = there_.rbegin(); old != there_.rend(); ++old) {
      const auto found = image.find(old->first);
      if (found == image.end() || !same(*found, *old)) {
        std::filesystem::remove(root_ / old->first);
      }
    }
    for (const auto& entry : image) {
      const auto found = there_.find(entry.first);
      if (found != there_.end() && same(*found, entry)) continue;
      if (entry.second == nullptr) {
        std::filesystem::create_directory(root_ / entry.first);
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

  std::filesystem::path root_;
  DiskImage there_;
};

inline std::size_t mixed(std::size_t hash, std::size_t with) {
  return (hash ^ with) * 0x9e3779b97f4a7c15u + (hash >> 29);
}

inline std::size_t hash_of_files(const DiskImage& image,
                                 const std::string& below) {
  std::size_t hash = 1;
  for (const auto& [path, content] : image) {
    if (!path.starts_with(below)) continue;
    hash = mixed(hash, std::hash<std::string>()(path));
    hash = mixed(hash, content ? content->hash : 7);
  }
  return hash;
}

/// Looks at what is there as a run that begins does.
class CrashChecker {
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

  const Outcome& load(const CrashState& state,
                      const std::filesystem::path& checkpoint) {
    const std::string below =
        fmt::format("{}/{}/", kCrashedFolder, checkpoint.filename().string());
    const std::size_t key = hash_of_files(state.image, below);
    const auto [known, is_new] = loaded_.try_emplace(key);
    if (is_new) known->second = load(checkpoint);
    return known->second;
  }

  Outcome load(const std::filesystem::path& checkpoint) {
    try {
      const run::Manifest manifest = run::read_manifest(checkpoint);
      for (const auto* files : {&manifest.files, &manifest.parity}) {
        for (const auto& file : *files)
          run::CheckedReader(checkpoint, file).check();
      }
      saved_.fill(99);
      const run::RunState state = run::load_checkpoint(checkpoint,
                                                       saved_.buckets,
                                                       saved_.optimizer,
                                                       *self_)
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
    std::optional<run::NewestCheckpoint> newest;
    try {
      newest = run::newest_checkpoint(disk_.folder());
    } catch (const Error& error) {
      return error.what();
    }
    std::unordered_set<std::int64_t> steps;
    for (const auto& each : run::list_checkpoints(disk_.folder())) {
      const Outcome& outcome = load(state, each.path);
      if (!outcome.error.empty()) return outcome.error;
      if (outcome.step != each.step) return "another step";
      steps.insert(each.step);
    }
    if (!newest && state.published > 0) return "none is found";
    if (newest && !newest->damage.empty()) return newest->damage.front();
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
    const auto latest =
        state.image.find(std::string(kCrashedFolder) + "/latest");
    if (latest == state.image.end()) {
      return state.published > 0 ? "nothing is named the latest" : "";
    }
    std::string name = latest->second->bytes;
    if (!name.ends_with('\n')) return "latest is not whole: " + name;
    name.pop_back();
    const auto step = run::step_in_name(name);
    return step && steps.contains(*step) ? "" : "latest names none: " + name;
  }

  /// The disk has lost a byte of a checkpoint that nobody has read again: the
  /// one before is still there.
  std::string after_damage(const CrashState& state) {
    if (state.published < 2) return {};
    run::Damage known;
    try {
      for (;;) {
        const auto newest = run::newest_checkpoint(disk_.folder(), known);
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

  CrashedFolder disk_;
  std::unique_ptr<dist::Communicator> self_ =
      dist::make_self_communicator(at::kCPU);
  SavedBuckets saved_{*self_, {}};
  std::unordered_map<std::size_t, Outcome> loaded_;
  std::unordered_map<std::size_t, std::string> verdicts_;
};

}  // namespace mumoe::testing

#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "run/data_facts.h"
#include "run/options.h"

namespace mumoe::run {

/// What a checkpoint holds of its run's settings, by key.
using Settings = std::map<std::string, std::string>;

/// Every key whose row does not leave it free on resume.
Settings settings_of(const Options& options);
/// Those of a run: the same, and the hash of the training data.
Settings settings_of(const Options& options, const DataFacts& data);

/// Whether a run begins where a checkpoint of another run stands, whose steps
/// so far are its own, too (train.branch).
bool branches(const Options& options);

/// Options that go on from a checkpoint.
struct Replayed {
  Options options;
  /// A line for each setting that was `auto` and is as the checkpoint has it.
  std::vector<std::string> reasons;
};
/// `options`, with what the checkpoint's settings say in the place of `auto`
/// where the keys' rows ask for it. How the schedule ends is for a branch to
/// say.
Replayed replay(Options options, const Settings& stored);

/// Keys that train.force names. Throws `InputError` for one that is none, or
/// that no run may change: those that shape weights, and those that are free.
std::set<std::string> forced_keys(const Options& options);

/// Throws `InputError` naming the first setting of `now` that must match, does
/// not and is not `forced`, both values, and what to do. Returns the keys that
/// are forced and do not match. A `branch` may have another kind, length and
/// decay of the schedule, and another rate at its end.
std::set<std::string> check_resumable(const Settings& stored,
                                      const Settings& now,
                                      const std::set<std::string>& forced,
                                      const std::filesystem::path& checkpoint,
                                      bool branch = false);

/// The schedule that a checkpoint's settings tell of.
ScheduleConfig schedule_of(const Settings& stored);

/// Whether other values of one of `keys` make other samples of the same
/// numbers.
bool change_samples(const std::set<std::string>& keys);

/// "optimizer.lr = 0.002, was 0.001" of each key in which `now` differs from
/// `before`, but for those of where a run is kept and begins.
std::vector<std::string> changed_settings(
    const std::map<std::string, std::string>& before,
    const std::map<std::string, std::string>& now);

}  // namespace mumoe::run

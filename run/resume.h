#pragma once

#include <filesystem>
#include <map>
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

/// Options that go on from a checkpoint.
struct Replayed {
  Options options;
  /// A line for each setting that was `auto` and is as the checkpoint has it.
  std::vector<std::string> reasons;
};
/// `options`, with what the checkpoint's settings say in the place of `auto`
/// where the keys' rows ask for it.
Replayed replay(Options options, const Settings& stored);

/// Throws `InputError` naming the first setting of `now` that must match and
/// does not, both values, and what to do.
void check_resumable(const Settings& stored,
                     const Settings& now,
                     const std::filesystem::path& checkpoint);

}  // namespace mumoe::run

#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/text/prepare.h"
#include "run/options.h"

namespace mumoe::run {

/// Takes over from a checkpoint's settings what was chosen automatically, where
/// `options` still say `auto`, and says so: a line for each.
std::vector<std::string> replay_choices(
    Options& options,
    const std::map<std::string, std::string>& settings);

/// The settings that a resumed run must share with the run it resumes.
std::map<std::string, std::string> settings_that_matter(
    const Options& options,
    const data::PreparedData& data);

/// Throws `InputError` naming the first setting that differs, both values, and
/// what to do.
void check_resumable(const std::map<std::string, std::string>& stored,
                     const std::map<std::string, std::string>& now,
                     const std::filesystem::path& checkpoint);

}  // namespace mumoe::run

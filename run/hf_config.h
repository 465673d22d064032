#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "run/options.h"

namespace mumoe::run {

/// What transformers' config.json says of a GPT-2.
struct HfConfig {
  std::map<std::string, std::string> settings;  ///< model.heads and so on.
  std::vector<std::string> notes;  ///< Where this program computes otherwise.
};

/// Throws `InputError` naming file and key where it is another model, or one
/// that this program does not have.
HfConfig read_hf_config(const std::filesystem::path& file);

/// The config.json of a GPT-2 with dense MLPs.
std::string hf_config_text(const Options& options, const char* dtype);

}  // namespace mumoe::run

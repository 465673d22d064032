#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "run/options.h"

namespace mumoe::run {

/// What transformers' config.json says of a GPT-2 that its tensors do not tell,
/// by key: model.heads and model.gelu. Throws `InputError` naming file and key
/// where it is another model, or one that this program does not have.
std::map<std::string, std::string> read_hf_config(
    const std::filesystem::path& file);

/// The config.json of a GPT-2 with dense MLPs.
std::string hf_config_text(const Options& options, const char* dtype);

}  // namespace mumoe::run

#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "run/manifest.h"

namespace mumoe::run {

// A checkpoint of one file, state.safetensors, in which all tensors are whole
// and the header says where the run stands: as `mumoe convert` writes weights,
// and as versions before the manifest wrote all of it. It has no checksums.

/// What the header of `state`'s file says beside its tensors.
std::map<std::string, std::string> single_file_metadata(const RunState& state);

/// What it would have as a manifest. Throws `DamageError` naming the file.
Manifest read_single_file(const std::filesystem::path& checkpoint);

/// Makes the folder `target`, which is not there or empty, with the state file
/// of `step` that `write` writes to the path it is given, and the folders above
/// it. It appears whole or not at all, and durably. Throws `InputError`, with
/// nothing left.
void write_single_file_as(
    const std::filesystem::path& target,
    std::int64_t step,
    const std::function<void(const std::filesystem::path& file)>& write);

/// The same of `folder`/step_XXXXXXXX.
void write_single_file(
    const std::filesystem::path& folder,
    std::int64_t step,
    const std::function<void(const std::filesystem::path& file)>& write);

}  // namespace mumoe::run

#pragma once

#include <filesystem>

#include "mumoe/safetensors.h"

namespace mumoe::run {

/// The tensors of a dict by name that torch.save wrote in its form until
/// PyTorch 1.6, a pickle and the storages behind it (newer files are zip
/// archives: launch/pt_to_safetensors.py reads both). Nothing in the file is
/// run: only what such a dict consists of is understood. Throws `InputError`
/// naming the file and the byte.
NamedTensors read_torch_file(const std::filesystem::path& path);

}  // namespace mumoe::run

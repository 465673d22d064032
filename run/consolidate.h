#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace mumoe::run {

/// Writes the checkpoint that `from` names (`named_checkpoint`) as the folder
/// `to`, of one file state.safetensors that has all tensors whole, in the bytes
/// that they were saved in, and says where the run stands (run/single_file.h):
/// a run goes on from it where it lies as checkpoints/step_XXXXXXXX. Of a run
/// directory the newest checkpoint that can be read is taken. What parity knows
/// is rebuilt. Memory: one
/// tensor. The folder appears whole or not at all. Returns lines to say. Throws
/// `InputError`, with nothing left: `to` is there and not empty, or cannot be
/// written; `DamageError` naming file and tensor.
std::vector<std::string> consolidate(const std::filesystem::path& from,
                                     const std::filesystem::path& to);

}  // namespace mumoe::run

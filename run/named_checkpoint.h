#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "run/damage.h"

namespace mumoe::run {

/// Whether `path` is a folder that a run keeps its checkpoints in.
bool is_run(const std::filesystem::path& path);

/// The checkpoint that a person has named.
struct NamedCheckpoint {
  std::filesystem::path folder;
  /// A line for each newer one that is damaged and passed by.
  std::vector<std::string> notes = {};
};

/// That of `path`: the folder of a checkpoint, a file in it, or a run
/// directory, of which it is the newest one that is not in `known`. Of a folder
/// nothing is read yet. Throws `InputError` where there is none, `DamageError`
/// as `newest_checkpoint` does.
NamedCheckpoint named_checkpoint(const std::filesystem::path& path,
                                 const Damage& known = {});

}  // namespace mumoe::run

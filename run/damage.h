#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "run/checked_file.h"

namespace mumoe::run {

/// A checkpoint is not what was written: which, and in what.
struct DamagedCheckpoint : DamageError {
  DamagedCheckpoint(std::filesystem::path folder, const std::string& text)
      : DamageError(text), checkpoint(std::move(folder)) {}

  std::filesystem::path checkpoint;
};

/// Checkpoints that are known to be damaged, and in what.
using Damage = std::map<std::filesystem::path, std::string>;

/// Calls `use` with what is known of damage, and again for each checkpoint that
/// it finds damaged, so that it takes an older one. Throws what `use` throws
/// when that names one that it knew.
template <class Use>
auto past_damage(const Use& use) {
  for (Damage known;;) {
    try {
      return use(std::as_const(known));
    } catch (const DamagedCheckpoint& error) {
      if (!known.emplace(error.checkpoint, error.what()).second) throw;
    }
  }
}

}  // namespace mumoe::run

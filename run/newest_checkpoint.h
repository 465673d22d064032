#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "run/damage.h"
#include "run/run_state.h"

namespace mumoe::run {

/// What a run goes on from.
struct NewestCheckpoint {
  std::filesystem::path path;
  RunState state;
  /// A line for each newer one that is damaged: what, and that it is passed by;
  /// and for each file of this one's parity that is not there, in its size.
  std::vector<std::string> damage = {};
};

/// The newest checkpoint below `folder` that is not in `known`, whose manifest
/// is as it was written and whose files are there, in their sizes, or can be
/// rebuilt from those that are; what is in them is checked as it is read. None
/// if there is no checkpoint. Throws `DamageError` naming the newest when all
/// are damaged.
/// Those of more than `most` steps do not count.
std::optional<NewestCheckpoint> newest_checkpoint(
    const std::filesystem::path& folder,
    const Damage& known = {},
    std::int64_t most = std::numeric_limits<std::int64_t>::max());

}  // namespace mumoe::run

#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/disk.h"

namespace mumoe::run {

// What one rank does of a checkpoint for all: in which order names change, so
// that a whole one is there at every instant, also after a power cut.

/// Makes the folder `temporary` below `folder`, for the ranks' parts; whatever
/// a crash left there is removed. Throws `InputError`.
void begin_checkpoint(Disk& disk,
                      const std::filesystem::path& folder,
                      const std::filesystem::path& temporary);

/// Writes the manifest beside the parts, which are synced, and gives the folder
/// `temporary` its name, `target`. A checkpoint that has that name gets
/// `displaced_path`'s, and goes with `remove_old_checkpoints`. Returns why
/// `latest` could not be made to name it; empty: it does. Throws `InputError`,
/// with what was there before still there, and the new one not.
std::string publish_checkpoint(Disk& disk,
                               const std::filesystem::path& temporary,
                               const std::filesystem::path& target,
                               std::string_view manifest);

/// Removes one that is not to be, as far as the disk lets it; where it was
/// published, `latest` names the one before.
void abandon_checkpoint(Disk& disk,
                        const std::filesystem::path& folder,
                        const std::filesystem::path& checkpoint);

}  // namespace mumoe::run

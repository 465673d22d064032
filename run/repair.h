#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/disk.h"

namespace mumoe::run {

/// Reads all files of a checkpoint and writes those anew that are missing or
/// not as they were written, from the others and their parity: durably, each at
/// once, bit for bit as they were. The manifest is not one of them.
///
/// Returns a line for each file that was written; none: all are whole. Throws
/// `DamageError` naming what is damaged where it cannot be rebuilt: nothing but
/// files rebuilt before it has changed. Throws `InputError` where the disk
/// refuses. No other process may repair it meanwhile.
std::vector<std::string> repair_checkpoint(
    const std::filesystem::path& checkpoint,
    Disk& disk = real_disk());

}  // namespace mumoe::run

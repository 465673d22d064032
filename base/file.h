#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace mumoe {

/// The whole file as bytes. Throws `InputError` naming path and reason.
std::string read_file(const std::filesystem::path& path);

/// Writes `bytes` so that at any instant `path` holds the old content or the
/// new, never a part: temporary file beside it, fsync, rename, fsync of the
/// folder. Throws `InputError` naming path and reason (no space, no right).
void write_file_atomically(const std::filesystem::path& path,
                           std::string_view bytes);

/// Flushes a file or a folder to the disk. Throws `InputError`.
void sync_to_disk(const std::filesystem::path& path);

/// The user's cache folder of this project, outside any clone: `MUMOE_CACHE`,
/// else `XDG_CACHE_HOME`/mumoe, else `HOME`/.cache/mumoe.
std::filesystem::path cache_folder();

}  // namespace mumoe

#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace mumoe {

/// The whole file as bytes; a regular file, so that nothing is waited for.
/// Throws `InputError` naming path and reason.
std::string read_file(const std::filesystem::path& path);

/// A file that appears whole or not at all: bytes go to a temporary file beside
/// `path`, which replaces it in `commit`. A crash before that, or destruction,
/// leaves the old content. Several, also of several processes, may write one
/// `path` at once; the last commit stays. All functions throw `InputError`
/// naming path and reason (no space, no right).
///
/// The temporary file is the first of `path`.mumoe-0.tmp, .mumoe-1.tmp, ... on
/// which nobody holds a lock: what a crash leaves is written over by the next
/// that writes `path`, so that it does not pile up. Without locks in the file
/// system, the name has the process in it, and what a crash leaves stays.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  /// Flushes the file, renames it and flushes the folder.
  void commit();

 private:
  void open_unlocked();

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int fd_ = -1;
};

/// Writes `bytes` so that at any instant `path` holds the old content or the
/// new, never a part.
void write_file_atomically(const std::filesystem::path& path,
                           std::string_view bytes);

/// Flushes a file or a folder to the disk. Throws `InputError`.
void sync_to_disk(const std::filesystem::path& path);

/// The user's cache folder of this project, outside any clone: `MUMOE_CACHE`,
/// else `XDG_CACHE_HOME`/mumoe, else `HOME`/.cache/mumoe.
std::filesystem::path cache_folder();

}  // namespace mumoe

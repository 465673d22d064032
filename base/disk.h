#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/direct_io.h"

namespace mumoe {

/// One call by which something on a disk changes, or is made to last.
struct DiskCall {
  enum class Kind {
    create,       ///< A file that was not there.
    write,        ///< `bytes` at the end of the file.
    sync,         ///< The file's data.
    make_folder,  ///< One that was not there.
    sync_folder,  ///< The names in it.
    rename,       ///< `path` to `to`, which a file may have had.
    remove,       ///< A file, a link, or a folder that is empty.
    forget,       ///< What is in memory of the file, so that it is read anew.
  };
  Kind kind;
  std::filesystem::path path;
  std::filesystem::path to = {};
  std::string_view bytes = {};
};

/// The system calls by which checkpoints reach a disk, one method each. All
/// throw `InputError` that names path, call and reason (no space, no right, a
/// quota, a disk that is read-only).
///
/// Thread safety: as that of the file system.
class Disk {
 public:
  virtual ~Disk() = default;

  /// A file to be written from its beginning to its end, and then synced. What
  /// is large goes past the operating system's memory, where the file system
  /// lets it. Closed when destroyed.
  class File {
   public:
    File(Disk& disk, std::filesystem::path path);
    ~File();
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    void write(std::string_view bytes);
    /// Returns when what was written would outlast a power cut; its name would
    /// not, before `Disk::sync_folder`. Nothing can be written after it.
    void sync();

   private:
    void flush();
    void write_now(std::string_view bytes);

    Disk& disk_;
    std::filesystem::path path_;
    int fd_ = -1;
    std::size_t written_ = 0;
    std::optional<DirectBuffer> buffer_;
    std::size_t filled_ = 0;  ///< Bytes of it.
  };

  /// A whole file, made, written and synced.
  void write_file(const std::filesystem::path& path, std::string_view bytes);
  void make_folder(const std::filesystem::path& path);
  /// The same of one that may be there, and of those above it, whose names then
  /// outlast a power cut. Another process may make them meanwhile.
  void make_folders(const std::filesystem::path& path);
  void sync_folder(const std::filesystem::path& path);
  void rename(const std::filesystem::path& from,
              const std::filesystem::path& to);
  void remove(const std::filesystem::path& path);
  void forget(const std::filesystem::path& path);

 protected:
  /// Called before each call is made: a test notes it, or throws instead.
  virtual void before(const DiskCall&) {}
};

/// The one that is there.
Disk& real_disk();

}  // namespace mumoe

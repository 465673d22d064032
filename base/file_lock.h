#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace mumoe {

/// What became of an attempt to lock a descriptor: taken, held by another, or
/// the file system knows no locks.
enum class LockAttempt { taken, held, unsupported };

/// Tries to lock the open file `fd` (opened for writing) for this open file
/// description alone. The lock ends when the last descriptor of it is closed,
/// so also when the process dies.
LockAttempt try_lock_descriptor(int fd);

/// Whether `path` still names the open file `fd`: it may have been removed or
/// renamed between opening and locking.
bool names(const std::filesystem::path& path, int fd);

/// The right to do what `path`, a lock file, stands for. One holder at a time,
/// among processes and among threads of one process; the kernel releases it
/// when its holder dies, and a child process started by exec does not inherit
/// it. The file says who holds it; it stays behind, empty, when it is released,
/// since to remove it would race with those who wait for it.
///
/// It is an flock, which over NFS becomes a lock of the server and holds among
/// hosts; a host that dies gives it up once the server notices (NFS 4: its
/// lease, some 90 s). Where a file system has no locks (or a mount keeps them
/// on the host: NFS with local_lock or nolock), others are not excluded, or not
/// those of other hosts; `excludes()` tells the first.
class FileLock {
 public:
  /// Takes the lock on `path`, creating the file if need be; nothing when
  /// another holds it. Throws `InputError` when the file cannot be opened for
  /// writing.
  static std::optional<FileLock> try_lock(const std::filesystem::path& path);

  /// Takes the lock, waiting for it as long as it takes; calls `on_wait` once,
  /// with the holder, before it waits. What `on_wait` throws ends the waiting.
  static FileLock wait(
      const std::filesystem::path& path,
      const std::function<void(const std::string& holder)>& on_wait);

  /// Who holds the lock, or held it last: "process 123 on host abc"; "another
  /// process" when the file does not say.
  static std::string holder(const std::filesystem::path& path);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

  /// False where the file system has no locks, so that nothing is excluded.
  bool excludes() const { return excludes_; }

 private:
  FileLock(int fd, bool excludes) : fd_(fd), excludes_(excludes) {}

  int fd_;
  bool excludes_;
};

/// "process 123 on host abc": this process, as others should name it.
std::string this_process();

}  // namespace mumoe

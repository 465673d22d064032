#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/error.h"
#include "base/file_lock.h"

namespace mumoe {
namespace {

int open_or_throw(const std::filesystem::path& path, int flags) {
  const int fd = ::open(path.c_str(), flags, 0644);
  require(fd >= 0, "{}: cannot open: {}", path.string(), std::strerror(errno));
  return fd;
}

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_type type = fs::status(path, error).type();
  require(!error, "{}: cannot read: {}", path.string(), error.message());
  // A pipe would be waited for, a device may have no end.
  require(type == fs::file_type::regular,
          "{}: cannot read: {}",
          path.string(),
          type == fs::file_type::directory ? std::strerror(EISDIR)
                                           : "Not a regular file");
  std::ifstream in(path, std::ios::binary);
  require(in.good(),
          "{}: cannot read: {}",
          path.string(),
          std::strerror(errno));
  std::ostringstream bytes;
  bytes << in.rdbuf();
  require(!in.bad(), "{}: reading failed", path.string());
  return std::move(bytes).str();
}

void sync_to_disk(const std::filesystem::path& path) {
  const int fd = open_or_throw(path, O_RDONLY);
  const bool flushed = ::fsync(fd) == 0;
  const int error = errno;
  ::close(fd);
  require(flushed, "{}: cannot flush: {}", path.string(), std::strerror(error));
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  for (int slot = 0; fd_ < 0; ++slot) {
    temporary_ = path_;
    temporary_ += fmt::format(".mumoe-{}.tmp", slot);
    const int fd =
        ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    const int error = errno;
    if (fd < 0) {
      std::error_code ignored;  // there, but not ours to write: the next
      require(std::filesystem::exists(temporary_, ignored),
              "{}: cannot open {} beside it: {}",
              path_.string(),
              temporary_.filename().string(),
              std::strerror(error));
      continue;
    }
    const LockAttempt attempt = try_lock_descriptor(fd);
    if (attempt == LockAttempt::taken && names(temporary_, fd)) {
      fd_ = fd;
      continue;
    }
    ::close(fd);  // another's, or one that was renamed meanwhile
    if (attempt == LockAttempt::unsupported) open_unlocked();
  }
  require(::ftruncate(fd_, 0) == 0,
          "{}: cannot write: {}",
          path_.string(),
          std::strerror(errno));
}

void AtomicFile::open_unlocked() {
  const std::string beside = path_.string();
  do {
    static std::atomic<int> next{0};
    temporary_ = fmt::format("{}.mumoe-{}-{}.tmp", beside, ::getpid(), next++);
    fd_ = ::open(temporary_.c_str(),
                 O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                 0644);
  } while (fd_ < 0 && errno == EEXIST);
  require(fd_ >= 0,
          "{}: cannot open: {}",
          temporary_.string(),
          std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::unlink(temporary_.c_str());  // first: closed, it may be another's
  ::close(fd_);
}

void AtomicFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    require(written > 0,
            "{}: cannot write: {}",
            path_.string(),
            std::strerror(errno));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void AtomicFile::commit() {
  require(::fsync(fd_) == 0,
          "{}: cannot flush: {}",
          path_.string(),
          std::strerror(errno));
  require(::rename(temporary_.c_str(), path_.c_str()) == 0,
          "{}: cannot rename: {}",
          path_.string(),
          std::strerror(errno));
  ::close(std::exchange(fd_, -1));
  sync_to_disk(path_.has_parent_path() ? path_.parent_path() : ".");
}

void write_file_atomically(const std::filesystem::path& path,
                           std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

std::filesystem::path cache_folder() {
  if (const char* own = std::getenv("MUMOE_CACHE"); own && *own) return own;
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg) {
    return std::filesystem::path(xdg) / "mumoe";
  }
  const char* home = std::getenv("HOME");
  require(home && *home, "HOME is not set: cannot find the cache folder");
  return std::filesystem::path(home) / ".cache" / "mumoe";
}

}  // namespace mumoe

#include "base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/error.h"

namespace mumoe {
namespace {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags)
      : fd_(::open(path.c_str(), flags, 0644)) {
    require(fd_ >= 0, path.string(), ": ", std::strerror(errno));
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

void write_all(int fd, std::string_view bytes,
               const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, path.string(), ": cannot write: ",
            std::strerror(errno));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  require(in.good() && !std::filesystem::is_directory(path), path.string(),
          ": cannot read: ", std::strerror(errno ? errno : EISDIR));
  std::ostringstream bytes;
  bytes << in.rdbuf();
  require(!in.bad(), path.string(), ": reading failed");
  return std::move(bytes).str();
}

void sync_to_disk(const std::filesystem::path& path) {
  const Descriptor file(path, O_RDONLY);
  require(::fsync(file.get()) == 0, path.string(), ": cannot flush: ",
          std::strerror(errno));
}

void write_file_atomically(const std::filesystem::path& path,
                           std::string_view bytes) {
  const auto temporary = std::filesystem::path(path) += ".tmp";
  {
    const Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    write_all(file.get(), bytes, temporary);
    require(::fsync(file.get()) == 0, temporary.string(), ": cannot flush: ",
            std::strerror(errno));
  }
  require(::rename(temporary.c_str(), path.c_str()) == 0, path.string(),
          ": cannot rename: ", std::strerror(errno));
  sync_to_disk(path.has_parent_path() ? path.parent_path() : ".");
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

#include "base/direct_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace mumoe {
namespace {

/// A file system, or a device, may ask for more than `kDirectUnit`.
bool was_direct(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_DIRECT) == 0) return false;
  set_direct(fd, false);
  return true;
}

std::size_t in_units(std::size_t bytes) {
  return (bytes + kDirectUnit - 1) / kDirectUnit * kDirectUnit;
}

}  // namespace

DirectBuffer::DirectBuffer(std::size_t bytes)
    : data_(static_cast<char*>(std::aligned_alloc(kDirectUnit, bytes))),
      size_(bytes) {
  if (data_ == nullptr) throw std::bad_alloc();
}

void set_direct(int fd, bool direct) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return;
  ::fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT);
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(written));
      continue;
    }
    if (written == 0) errno = ENOSPC;
    if (errno == EINTR || (errno == EINVAL && was_direct(fd))) continue;
    return false;
  }
  return true;
}

std::ptrdiff_t read_all(int fd,
                        std::size_t begin,
                        std::size_t count,
                        char* to) {
  std::size_t read = 0;
  while (read < count) {
    const ssize_t more = ::pread(fd,
                                 to + read,
                                 in_units(count) - read,
                                 static_cast<off_t>(begin + read));
    if (more < 0 && (errno == EINTR || (errno == EINVAL && was_direct(fd)))) {
      continue;
    }
    if (more < 0) return -1;
    if (more == 0) break;
    read += static_cast<std::size_t>(more);
  }
  return static_cast<std::ptrdiff_t>(std::min(read, count));
}

}  // namespace mumoe

#include "base/disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace mumoe {
namespace {

namespace fs = std::filesystem;
using Kind = DiskCall::Kind;

/// What a file has before the rest of it is written directly, and then in one
/// call: a signal, and the end of a disk, are noticed in between.
constexpr std::size_t kDirectFrom = 4 << 20;
constexpr std::size_t kDirectBytes = 4 << 20;

void check(bool done, const fs::path& path, const char* what) {
  const int error = errno;
  require(done, "{}: cannot {}: {}", path.string(), what, std::strerror(error));
}

}  // namespace

Disk::File::File(Disk& disk, fs::path path)
    : disk_(disk), path_(std::move(path)) {
  disk_.before({Kind::create, path_});
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  check(fd_ >= 0, path_, "create");
}

Disk::File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

void Disk::File::write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (written_ < kDirectFrom) {
      const auto part = bytes.substr(0, kDirectFrom - written_);
      write_now(part);
      bytes.remove_prefix(part.size());
      continue;
    }
    if (!buffer_) {
      buffer_.emplace(kDirectBytes);
      set_direct(fd_, true);
    }
    const auto part = bytes.substr(0, kDirectBytes - filled_);
    std::memcpy(buffer_->data() + filled_, part.data(), part.size());
    filled_ += part.size();
    bytes.remove_prefix(part.size());
    if (filled_ == kDirectBytes) flush();
  }
}

void Disk::File::flush() {
  if (filled_ % kDirectUnit != 0) set_direct(fd_, false);
  write_now({buffer_->data(), std::exchange(filled_, 0)});
}

void Disk::File::write_now(std::string_view bytes) {
  disk_.before({Kind::write, path_, {}, bytes});
  check(write_all(fd_, bytes), path_, "write");
  written_ += bytes.size();
}

void Disk::File::sync() {
  if (filled_ > 0) flush();
  disk_.before({Kind::sync, path_});
  check(::fsync(fd_) == 0, path_, "flush");
}

void Disk::write_file(const fs::path& path, std::string_view bytes) {
  File file(*this, path);
  file.write(bytes);
  file.sync();
}

void Disk::make_folder(const fs::path& path) {
  before({Kind::make_folder, path});
  std::error_code error;
  const bool made = fs::create_directory(path, error);
  require(made,
          "{}: cannot create: {}",
          path.string(),
          error ? error.message() : std::strerror(EEXIST));
}

void Disk::make_folders(const fs::path& path) {
  std::error_code error;
  if (path.empty() || fs::is_directory(path, error)) return;
  // "runs/mine/": the last part is empty.
  const fs::path parent = path.parent_path();
  if (!path.has_filename()) return make_folders(parent);
  make_folders(parent);
  try {
    make_folder(path);
  } catch (const InputError&) {
    if (!fs::is_directory(path, error)) throw;
  }
  sync_folder(parent.empty() ? "." : parent);
}

void Disk::sync_folder(const fs::path& path) {
  before({Kind::sync_folder, path});
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  check(fd >= 0, path, "open");
  const bool done = ::fsync(fd) == 0;
  const int error = errno;
  ::close(fd);
  errno = error;
  check(done, path, "flush");
}

void Disk::rename(const fs::path& from, const fs::path& to) {
  before({Kind::rename, from, to});
  check(std::rename(from.c_str(), to.c_str()) == 0, to, "rename");
}

void Disk::remove(const fs::path& path) {
  before({Kind::remove, path});
  check(std::remove(path.c_str()) == 0, path, "remove");
}

void Disk::forget(const fs::path& path) {
  before({Kind::forget, path});
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  check(fd >= 0, path, "open");
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);  // a hint: it may say no
  ::close(fd);
}

Disk& real_disk() {
  static Disk disk;
  return disk;
}

}  // namespace mumoe

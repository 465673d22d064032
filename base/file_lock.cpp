#include "base/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "base/error.h"

namespace mumoe {
namespace {

constexpr std::chrono::milliseconds kPoll{50};
constexpr int kPollsForName = 20;
constexpr const char* kUnknown = "another process";

/// Says in the file who holds it. Best effort: only messages need it.
void sign(int fd) {
  const std::string who = this_process();
  if (::ftruncate(fd, 0) != 0) return;
  [[maybe_unused]] const ssize_t written =
      ::pwrite(fd, who.data(), who.size(), 0);
}

}  // namespace

bool names(const std::filesystem::path& path, int fd) {
  struct stat held {};
  struct stat named {};
  return ::fstat(fd, &held) == 0 && ::stat(path.c_str(), &named) == 0 &&
         held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

LockAttempt try_lock_descriptor(int fd) {
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    // Over NFS a lock that another host holds is EAGAIN or EACCES.
    const bool held = errno == EWOULDBLOCK || errno == EACCES;
    return held ? LockAttempt::held : LockAttempt::unsupported;
  }
  return LockAttempt::taken;
}

std::optional<FileLock> FileLock::try_lock(const std::filesystem::path& path) {
  for (;;) {
    const int fd =
        ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    require(fd >= 0,
            "{}: cannot open the lock file: {}",
            path.string(),
            std::strerror(errno));
    const LockAttempt attempt = try_lock_descriptor(fd);
    FileLock lock(fd, attempt == LockAttempt::taken);  // closes on every path
    if (attempt == LockAttempt::held) {
      ::close(std::exchange(lock.fd_, -1));
      return std::nullopt;
    }
    if (attempt == LockAttempt::taken && !names(path, fd)) continue;
    sign(fd);
    return lock;
  }
}

FileLock FileLock::wait(
    const std::filesystem::path& path,
    const std::function<void(const std::string& holder)>& on_wait) {
  // Asked for again and again: a blocking lock cannot tell that the file was
  // replaced, and over NFS it is asked for again and again by the kernel.
  bool told = !on_wait;
  for (int polls = 0;; ++polls) {
    if (auto lock = try_lock(path)) return *std::move(lock);
    if (!told) {
      // Who has just taken it signs in a moment, who is just leaving has
      // blotted out its name: neither is worth "another process".
      const std::string who = holder(path);
      told = who != kUnknown || polls >= kPollsForName;
      if (told) on_wait(who);
    }
    std::this_thread::sleep_for(kPoll);
  }
}

std::string FileLock::holder(const std::filesystem::path& path) {
  std::array<char, 256> text{};
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0) {
    [[maybe_unused]] const ssize_t got =
        ::read(fd, text.data(), text.size() - 1);
    ::close(fd);
  }
  const std::string who = text.data();
  const bool usable = who.starts_with("process ") &&
                      who.find_first_of("\n\r\t\033") == std::string::npos;
  return usable ? who : kUnknown;
}

FileLock::FileLock(FileLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), excludes_(other.excludes_) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(excludes_, other.excludes_);
  return *this;
}

FileLock::~FileLock() {
  if (fd_ < 0) return;
  [[maybe_unused]] const int emptied = ::ftruncate(fd_, 0);
  // A child between fork and exec would keep the lock, so not by closing alone.
  if (excludes_) ::flock(fd_, LOCK_UN);
  ::close(fd_);
}

std::string this_process() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
  return fmt::format("process {} on host {}", ::getpid(), host.data());
}

}  // namespace mumoe

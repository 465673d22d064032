// Preloaded (LD_PRELOAD), it kills its process at the n-th call that changes
// what lies below a folder called checkpoints: write, fsync, rename, link,
// mkdir, remove, unlink, rmdir, and open of a file that is made. The call is
// not made.
//   KILL_RANK  of which rank, by OMPI_COMM_WORLD_RANK [0]
//   KILL_AT    n, from 1; none: it is not killed
//   KILL_FROM  save: they count from where the first save makes its folder, or
//              this rank its file, on; start: all count [start]
//   KILL_LOG   a file to which each call that counts is added before it is made
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>

namespace {

std::string_view variable(const char* name, const char* otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? text : otherwise;
}

/// By the kernel's own calls: the library's would come here again.
void add_line(const char* log, const std::string& line) {
  const auto fd =
      static_cast<int>(::syscall(SYS_openat,
                                 AT_FDCWD,
                                 log,
                                 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                                 0644));
  const auto written = ::syscall(SYS_write, fd, line.data(), line.size());
  if (written != static_cast<long>(line.size())) std::abort();
  ::syscall(SYS_close, fd);
}

/// Whether calls count from this one on, or have counted already.
bool counts(std::string_view call, std::string_view path) {
  static bool begun = variable("KILL_FROM", "start") == "start";
  const auto holds = [&](std::string_view part) {
    return path.find(part) != path.npos;
  };
  begun = begun || (call == "mkdir" && holds("/.step_")) ||
          (call == "create" && holds("/rank_"));
  return begun;
}

void before(const char* call, const char* path) {
  if (std::string_view(path).find("/checkpoints") == std::string_view::npos ||
      variable("OMPI_COMM_WORLD_RANK", "0") != variable("KILL_RANK", "0")) {
    return;
  }
  static std::mutex mutex;
  static long calls = 0;
  const std::lock_guard lock(mutex);
  if (!counts(call, path)) return;
  ++calls;
  if (const char* log = std::getenv("KILL_LOG")) {
    add_line(log, std::to_string(calls) + " " + call + " " + path + "\n");
  }
  if (variable("KILL_AT", "") == std::to_string(calls)) {
    ::syscall(SYS_kill, ::getpid(), SIGKILL);
    ::pause();
  }
}

void before_on(const char* call, int fd) {
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  std::array<char, PATH_MAX> path = {};
  const auto length = ::readlink(link.c_str(), path.data(), path.size() - 1);
  if (length > 0) before(call, path.data());
}

/// The function `name` that would be called without this library, of the type
/// of `own`.
template <class Function>
Function* next(Function*, const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* bytes, size_t count) {
  before_on("write", fd);
  return next(&write, "write")(fd, bytes, count);
}

int fsync(int fd) {
  before_on("fsync", fd);
  return next(&fsync, "fsync")(fd);
}

int fdatasync(int fd) {
  before_on("fdatasync", fd);
  return next(&fdatasync, "fdatasync")(fd);
}

int rename(const char* from, const char* to) noexcept {
  before("rename", to);
  return next(&rename, "rename")(from, to);
}

int link(const char* from, const char* to) noexcept {
  before("link", to);
  return next(&link, "link")(from, to);
}

int mkdir(const char* path, mode_t mode) noexcept {
  before("mkdir", path);
  return next(&mkdir, "mkdir")(path, mode);
}

int unlink(const char* path) noexcept {
  before("unlink", path);
  return next(&unlink, "unlink")(path);
}

int rmdir(const char* path) noexcept {
  before("rmdir", path);
  return next(&rmdir, "rmdir")(path);
}

int remove(const char* path) noexcept {
  before("remove", path);
  return next(&remove, "remove")(path);
}

int open(const char* path, int flags, ...) {
  std::va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if ((flags & O_CREAT) != 0) before("create", path);
  return next(&open, "open")(path, flags, mode);
}

int openat(int folder, const char* path, int flags, ...) {
  std::va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if ((flags & O_CREAT) != 0) before("create", path);
  return next(&openat, "openat")(folder, path, flags, mode);
}

}  // extern "C"

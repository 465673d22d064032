#include "launch/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace mumoe::launch {

RunLog::~RunLog() {
  if (file_ >= 0) ::close(file_);
}

void RunLog::say(const std::string& line) {
  // Not a stream that throws: the terminal may have been closed.
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);  // a pipe is read now, and a first step may take minutes
  keep(line);
}

void RunLog::keep(const std::string& line) {
  const std::lock_guard lock(mutex_);
  if (path_.empty()) {
    waiting_ += line + "\n";
  } else {
    write(line + "\n");
  }
}

void RunLog::open(const std::filesystem::path& folder) {
  const std::lock_guard lock(mutex_);
  path_ = folder / "log.txt";
  file_ =
      ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  write(waiting_);
  waiting_.clear();
}

bool RunLog::kept() const {
  const std::lock_guard lock(mutex_);
  return !path_.empty() && !failed_;
}

// A line goes to the file at once and whole: what the process says last is what
// is looked for.
void RunLog::write(const std::string& text) {
  if (failed_) return;
  const char* reason = std::strerror(errno);  // of opening it
  if (file_ >= 0) {
    const ssize_t written = ::write(file_, text.data(), text.size());
    if (written == static_cast<ssize_t>(text.size())) return;
    reason = std::strerror(written < 0 ? errno : ENOSPC);
  }
  failed_ = true;
  std::fprintf(stderr,
               "mumoe: %s: cannot write: %s; the run goes on, and what it says "
               "is not kept there\n",
               path_.c_str(),
               reason);
}

}  // namespace mumoe::launch

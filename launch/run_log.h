#pragma once

#include <filesystem>
#include <mutex>
#include <string>

namespace mumoe::launch {

/// What rank 0 says of a run, kept in log.txt of the run directory as well:
/// whoever reads stdout may go away. Thread safety: any thread.
class RunLog {
 public:
  RunLog() = default;
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  /// Prints a line (or several, without the last end) on stdout and keeps it.
  void say(const std::string& line);
  /// Keeps what is printed elsewhere.
  void keep(const std::string& line);
  /// From now on lines are added to `folder`/log.txt, at once those kept
  /// before. When that fails, now or later, it is one line on stderr, and the
  /// rest is not kept: the run matters more.
  void open(const std::filesystem::path& folder);
  /// Whether all of it is kept so far.
  bool kept() const;

 private:
  void write(const std::string& text);

  mutable std::mutex mutex_;
  std::filesystem::path path_;  // empty: not opened
  int file_ = -1;
  bool failed_ = false;
  std::string waiting_;
};

}  // namespace mumoe::launch

#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace mumoe::study {

/// What is started, and what bounds it.
struct Command {
  std::vector<std::string> words;  ///< The program first, found by PATH.
  std::filesystem::path output;    ///< Gets its stdout and stderr, from empty.
  std::chrono::milliseconds limit;
  std::filesystem::path folder = {};  ///< That it works in; empty: this one's.
  /// What it is given between a request to end (SIGTERM), a second one, and
  /// SIGKILL to its process group.
  std::chrono::milliseconds patience{20'000};
};

/// How it ended.
struct End {
  int code = 0;            ///< Its exit code; 128 + the signal that killed it.
  bool stopped = false;    ///< It was asked to end, since `stop` said so.
  bool timed_out = false;  ///< Since its time was over.
  double seconds = 0;
};

/// Runs `command` to its end: in a process group of its own, so that a
/// terminal's signals come to this process alone, without input, and, where
/// the system has setpriv, not longer than this thread. `stop` is asked every
/// few milliseconds whether it is to be ended before; `on_stop` is called once
/// when it is. Throws `InputError` where it cannot be started.
End run_to_end(const Command& command,
               const std::function<bool()>& stop,
               const std::function<void()>& on_stop = {});

/// `words` as a shell takes them.
std::string shell_text(const std::vector<std::string>& words);

/// The last line of `file` that begins with one of `heads`, without that head;
/// else the last that is not empty; empty where there is none.
std::string last_line(const std::filesystem::path& file,
                      const std::vector<std::string>& heads);

}  // namespace mumoe::study

#include "study/scale/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/file.h"

extern char** environ;

namespace mumoe::study {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick{20};
constexpr const char* kPlain =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=:,+-@%";

/// How a process is started: files, signals, group.
class Start {
 public:
  Start(const std::filesystem::path& output,
        const std::filesystem::path& folder) {
    posix_spawn_file_actions_init(&files_);
    posix_spawn_file_actions_addopen(&files_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files_,
                                     1,
                                     output.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC | O_APPEND,
                                     0666);
    posix_spawn_file_actions_adddup2(&files_, 1, 2);
    if (!folder.empty()) {
      posix_spawn_file_actions_addchdir_np(&files_, folder.c_str());
    }
    posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    // What this process ignores is not what the program expects.
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(
        &attributes_,
        POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~Start() {
    posix_spawn_file_actions_destroy(&files_);
    posix_spawnattr_destroy(&attributes_);
  }
  Start(const Start&) = delete;
  Start& operator=(const Start&) = delete;

  /// Throws `InputError`.
  pid_t operator()(const std::vector<std::string>& words) const {
    std::vector<char*> pointers;
    for (const auto& word : words) {
      pointers.push_back(const_cast<char*>(word.c_str()));
    }
    pointers.push_back(nullptr);
    pid_t child = -1;
    const int error = posix_spawnp(&child,
                                   pointers[0],
                                   &files_,
                                   &attributes_,
                                   pointers.data(),
                                   environ);
    require(error == 0,
            "{}: cannot be started: {}",
            words[0],
            std::strerror(error));
    return child;
  }

 private:
  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
};

/// Whether a program is there, by its path or in PATH.
bool is_found(const std::string& name) {
  if (name.find('/') != name.npos) return ::access(name.c_str(), X_OK) == 0;
  const char* path = std::getenv("PATH");
  std::string_view folders = path ? path : "/usr/bin:/bin";
  while (!folders.empty()) {
    const auto end = std::min(folders.find(':'), folders.size());
    const auto file = std::filesystem::path(folders.substr(0, end)) / name;
    if (::access(file.c_str(), X_OK) == 0) return true;
    folders.remove_prefix(std::min(end + 1, folders.size()));
  }
  return false;
}

std::optional<int> ended(pid_t child) {
  int status = 0;
  pid_t got = 0;
  do {
    got = ::waitpid(child, &status, WNOHANG);
  } while (got < 0 && errno == EINTR);
  if (got == 0) return std::nullopt;
  if (got < 0) return 127;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/// Asks `child` to end, more urgently as time passes.
class Ending {
 public:
  Ending(pid_t child, std::chrono::milliseconds patience)
      : child_(child), patience_(patience) {}

  bool begun() const { return asked_ > 0; }
  void go_on() {
    const auto now = Clock::now();
    if (asked_ > 0 && now - last_ < patience_) return;
    last_ = now;
    // The first two are requests, which a launcher passes on.
    ::kill(asked_ < 2 ? child_ : -child_, asked_ < 2 ? SIGTERM : SIGKILL);
    ++asked_;
  }

 private:
  pid_t child_;
  std::chrono::milliseconds patience_;
  Clock::time_point last_;
  int asked_ = 0;
};

}  // namespace

End run_to_end(const Command& command,
               const std::function<bool()>& stop,
               const std::function<void()>& on_stop) {
  auto words = command.words;
  require(is_found(words[0]), "{}: no such program", words[0]);
  if (is_found("setpriv")) {
    words.insert(words.begin(), {"setpriv", "--pdeathsig", "TERM", "--"});
  }
  const auto began = Clock::now();
  const pid_t child = Start(command.output, command.folder)(words);
  Ending ending(child, command.patience);
  End end;
  for (;; std::this_thread::sleep_for(kTick)) {
    const auto code = ended(child);
    const auto took = Clock::now() - began;
    if (code) {
      end.code = *code;
      end.seconds = std::chrono::duration<double>(took).count();
      return end;
    }
    if (!ending.begun()) {
      end.stopped = stop();
      end.timed_out = !end.stopped && took > command.limit;
      if (!end.stopped && !end.timed_out) continue;
      if (on_stop) on_stop();
    }
    ending.go_on();
  }
}

std::string shell_text(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) {
    if (!text.empty()) text += ' ';
    if (!word.empty() && word.find_first_not_of(kPlain) == word.npos) {
      text += word;
      continue;
    }
    text += '\'';
    for (const char c : word) {
      text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    }
    text += '\'';
  }
  return text;
}

std::string last_line(const std::filesystem::path& file,
                      const std::vector<std::string>& heads) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return {};
  const std::string text = read_file(file);
  std::string last, headed;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    const auto line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    last = line;
    for (const auto& head : heads) {
      if (line.starts_with(head)) headed = line.substr(head.size());
    }
  }
  return one_line(headed.empty() ? last : headed);
}

}  // namespace mumoe::study

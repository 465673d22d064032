#include "data/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "base/error.h"

namespace mumoe::data {
namespace {

/// The line that most likely says why.
std::string reason_in(const std::string& output) {
  std::istringstream lines(output);
  std::string line, last, error;
  while (std::getline(lines, line)) {
    std::replace(line.begin(), line.end(), '\r', ' ');
    if (line.find_first_not_of(' ') == std::string::npos) continue;
    last = line;
    if (line.starts_with("ERROR") || line.find("Error") != std::string::npos) {
      error = line;
    }
  }
  const std::string& reason = error.empty() ? last : error;
  return reason.empty() ? "it printed nothing" : reason;
}

/// posix_spawn and not fork: safe in a process with threads and MPI.
pid_t spawn(const std::vector<std::string>& arguments, int output, int& error) {
  std::vector<char*> argv;
  for (const auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, 1);
  posix_spawn_file_actions_adddup2(&actions, output, 2);
  pid_t child = -1;
  error =
      posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return child;
}

std::string read_all(int fd) {
  std::string output;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return output;
    output.append(buffer, static_cast<std::size_t>(got));
  }
}

}  // namespace

void run_process(const std::string& what,
                 const std::vector<std::string>& arguments) {
  int ends[2];
  require(::pipe2(ends, O_CLOEXEC) == 0,
          "{}: cannot make a pipe: {}",
          what,
          std::strerror(errno));
  int error = 0;
  const pid_t child = spawn(arguments, ends[1], error);
  ::close(ends[1]);
  const std::string output = error == 0 ? read_all(ends[0]) : "";
  ::close(ends[0]);
  require(error == 0,
          "{}: cannot start {}: {}",
          what,
          arguments[0],
          std::strerror(error));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const bool exited = WIFEXITED(status);
  require(exited && WEXITSTATUS(status) == 0,
          "{}: {}{}{}: {}",
          what,
          arguments[0],
          exited ? " ended with code " : " was ended by signal ",
          exited ? WEXITSTATUS(status) : WTERMSIG(status),
          reason_in(output));
}

}  // namespace mumoe::data

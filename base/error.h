#pragma once

#include <fmt/base.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace mumoe {

/// What a process tells its launcher. `launch/run` and job schedulers decide by
/// these whether to restart, so their values are part of the interface.
enum class ExitCode : int {
  done = 0,
  internal = 1,
  bad_input = 2,
  preempted = 3,
  non_finite = 4,
  communication = 5,
};

/// Base of every error this project throws; only `main` catches it, prints
/// `what()` on one line and exits with `exit_code()`.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& what)
      : std::runtime_error(what), code_(code) {}
  ExitCode exit_code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

/// `text` as one line of at most 2000 bytes, whatever a user's file or option
/// put into it: control characters are spelled out (\n, \x1b), of a longer text
/// the middle is left out.
std::string one_line(std::string_view text);

/// A user's option, config, file, shape or layout is unusable. The text is one
/// line: what, where, what was expected.
struct InputError : Error {
  explicit InputError(const std::string& what)
      : Error(ExitCode::bad_input, one_line(what)) {}
};

/// A collective failed, timed out or was aborted. The text names rank, axis
/// and operation.
struct CommunicationError : Error {
  explicit CommunicationError(const std::string& what)
      : Error(ExitCode::communication, what) {}
};

/// A loss or a gradient norm was not finite on some rank.
struct NonFiniteError : Error {
  explicit NonFiniteError(const std::string& what)
      : Error(ExitCode::non_finite, what) {}
};

/// A broken invariant of this project itself.
struct InternalError : Error {
  explicit InternalError(const std::string& what)
      : Error(ExitCode::internal, what) {}
};

/// A message with its arguments in place: `fmt::vformat`, out of line.
std::string format_message(fmt::string_view text, fmt::format_args arguments);

/// Throws `E` with `text`, a format string of {fmt} that is checked where it is
/// compiled.
template <class E, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... arguments) {
  throw E(format_message(text, fmt::make_format_args(arguments...)));
}

/// Throws `InputError` unless `condition` holds.
template <class... Args>
void require(bool condition,
             fmt::format_string<Args...> text,
             Args&&... arguments) {
  if (!condition) fail<InputError>(text, std::forward<Args>(arguments)...);
}

/// Throws `InternalError` that says where which invariant does not hold.
template <class... Args>
[[noreturn]] void fail_check(const char* where,
                             fmt::format_string<Args...> text,
                             Args&&... arguments) {
  fail<InternalError>(
      "{} does not hold. {}",
      where,
      format_message(text, fmt::make_format_args(arguments...)));
}

}  // namespace mumoe

/// Checks an invariant of the project; the error carries the expression and
/// where it stands. What may follow is a message, as of `fail`.
#define MUMOE_CHECK(condition, ...)                                       \
  do {                                                                    \
    if (!(condition)) {                                                   \
      ::mumoe::fail_check(__FILE__                                        \
                          ":" MUMOE_CHECK_LINE(__LINE__) ": " #condition, \
                          "" __VA_ARGS__);                                \
    }                                                                     \
  } while (false)
#define MUMOE_CHECK_LINE(line) MUMOE_CHECK_TEXT(line)
#define MUMOE_CHECK_TEXT(line) #line

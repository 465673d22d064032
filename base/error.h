#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

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

/// Joins streamable parts into one string.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// Throws `E` with the joined parts as its text.
template <class E, class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw E(concat(parts...));
}

/// Throws `InputError` unless `condition` holds.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) fail<InputError>(parts...);
}

}  // namespace mumoe

/// Checks an invariant of the project; the error carries the expression and
/// where it stands.
#define MUMOE_CHECK(condition, ...)                             \
  do {                                                          \
    if (!(condition)) {                                         \
      ::mumoe::fail<::mumoe::InternalError>(__FILE__,           \
                                            ":",                \
                                            __LINE__,           \
                                            ": " #condition     \
                                            " does not hold. ", \
                                            ##__VA_ARGS__);     \
    }                                                           \
  } while (false)

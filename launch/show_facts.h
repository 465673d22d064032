#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/file.h"
#include "run/command_line.h"

namespace mumoe::launch {

/// Makes the text of a table, or of JSON.
using Text = std::function<std::string()>;

/// Where the facts of a command go, by what `--json FILE` says: to stdout for
/// -, without the table; else the table goes there, and they to the file that
/// is named, if one is.
class FactsOutput {
 public:
  /// `file` empty: none is named. Made before the work: what cannot be written
  /// is found now. Throws `InputError` with its name.
  explicit FactsOutput(const std::string& file);
  /// As --json of `line` says, whose word must not be empty.
  explicit FactsOutput(const run::CommandLine& line);

  /// Nothing but JSON goes to stdout.
  bool alone() const { return alone_; }
  /// Once. Throws `InputError` where the file cannot be written.
  void show(const Text& table, const Text& json);

 private:
  bool alone_;
  std::optional<AtomicFile> file_;
};

}  // namespace mumoe::launch

#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace mumoe::dist {

/// The text of a Chrome trace (Trace Event Format, a JSON array): complete
/// events in named rows. Names hold no characters that JSON escapes.
class TraceEvents {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// `rank` is the process; times are counted from `origin`.
  TraceEvents(int rank, Time origin);

  /// What a viewer shows beside the process.
  void label(std::string_view text);
  void name_row(int row, std::string_view name);
  /// `args`: the members of a JSON object.
  void span(int row,
            std::string_view name,
            Time begin,
            Time end,
            std::string_view args = "");
  std::string text() const { return text_ + "\n]\n"; }

 private:
  void metadata(int row, std::string_view kind, std::string_view args);
  void add(std::string event);

  int rank_;
  Time origin_;
  std::string text_ = "[";
};

}  // namespace mumoe::dist

#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace mumoe::data {

/// A line on stderr every few seconds of what takes long: how far it is. Thread
/// safety: `add` may be called by any thread.
class ProgressLine {
 public:
  using Duration = std::chrono::steady_clock::duration;

  /// "mumoe: WHAT: 12 of 340 FILES", in whole multiples of `unit`; without a
  /// `total`, "mumoe: WHAT: 12 MB".
  struct Goal {
    std::uint64_t total = 0;
    std::string units = "files";
    std::uint64_t unit = 1;
  };

  ProgressLine(std::string what,
               Goal goal,
               Duration every = std::chrono::seconds(5));

  void add(std::uint64_t amount = 1);

 private:
  std::string what_;
  Goal goal_;
  Duration every_;
  std::mutex mutex_;
  // Guarded by mutex_.
  std::uint64_t done_ = 0;
  std::chrono::steady_clock::time_point told_ =
      std::chrono::steady_clock::now();
};

/// Of bytes, told as MB; `total` may be unknown, 0.
inline ProgressLine::Goal megabytes(std::uint64_t total = 0) {
  return {total, "MB", 1'000'000};
}

}  // namespace mumoe::data

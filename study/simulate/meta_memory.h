#pragma once

#include <cstdint>

namespace mumoe::study {

/// Counts what tensors on the meta device would hold, from its construction to
/// its end, in the whole process. One at a time.
class MetaMemory {
 public:
  MetaMemory();
  ~MetaMemory();
  MetaMemory(const MetaMemory&) = delete;
  MetaMemory& operator=(const MetaMemory&) = delete;

  /// Bytes: now, and at most since `begin_peak`.
  static std::int64_t held();
  static std::int64_t peak();
  static void begin_peak();
};

}  // namespace mumoe::study

#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

namespace mumoe::testing {

/// Steps of a compared run: 20, or fewer where a sanitizer makes them slow
/// (MUMOE_TEST_STEPS).
inline std::int64_t compared_steps() {
  const char* steps = std::getenv("MUMOE_TEST_STEPS");
  return steps == nullptr ? 20 : std::stoll(steps);
}

}  // namespace mumoe::testing

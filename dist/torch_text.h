#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

// LibTorch's types as arguments of messages; found by {fmt} where they live.
namespace c10 {

inline const char* format_as(ScalarType type) {
  return toString(type);
}
inline std::string format_as(const Device& device) {
  return device.str();
}

}  // namespace c10

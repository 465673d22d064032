#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string_view>

namespace mumoe::run {

/// What values are like; those that are not finite are counted and no more.
struct ValueFacts {
  double squares = 0;  ///< Their sum, in fp64.
  double largest = 0;  ///< Absolute value.
  std::int64_t non_finite = 0;

  double norm() const;  ///< 2-norm.
  void add(const ValueFacts& others);
};

/// Those of elements of `dtype`, one after the other, at any alignment.
ValueFacts facts_of(std::string_view bytes, at::ScalarType dtype);

}  // namespace mumoe::run

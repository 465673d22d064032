#pragma once

#include <cstdint>

#include "base/random.h"

namespace mumoe::dist {

/// The distribution a parameter starts from. Element i of the global tensor is
/// a function of (seed, name, i) alone, so every layout starts from the same
/// numbers.
struct Initializer {
  enum class Kind { constant, normal, uniform };
  Kind kind = Kind::constant;
  double centre = 0;
  double spread = 0;
  /// When positive: the last two dims are matrices of so many rows and columns,
  /// whose elements off the diagonal are zero.
  std::int64_t diagonal_rows = 0;
  std::int64_t diagonal_columns = 0;

  static Initializer constant(double value) {
    return {.kind = Kind::constant, .centre = value};
  }
  /// N(mean, deviation²).
  static Initializer normal(double mean, double deviation) {
    return {.kind = Kind::normal, .centre = mean, .spread = deviation};
  }
  /// U(−bound, bound).
  static Initializer uniform(double bound) {
    return {.kind = Kind::uniform, .spread = bound};
  }
  /// The same on the diagonals of matrices [rows, columns], zero elsewhere.
  Initializer on_diagonal(std::int64_t rows, std::int64_t columns) const {
    Initializer masked = *this;
    masked.diagonal_rows = rows;
    masked.diagonal_columns = columns;
    return masked;
  }

  double operator()(const CounterRandom& random, std::uint64_t index) const {
    if (diagonal_rows > 0) {
      const auto columns = static_cast<std::uint64_t>(diagonal_columns);
      const auto rows = static_cast<std::uint64_t>(diagonal_rows);
      if (index / columns % rows != index % columns) return 0;
    }
    switch (kind) {
      case Kind::constant:
        return centre;
      case Kind::normal:
        return centre + spread * random.normal(index);
      case Kind::uniform:
        return spread * (2 * random.uniform(index) - 1);
    }
    return 0;
  }
};

}  // namespace mumoe::dist

#pragma once

#include <cstdint>
#include <string>

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

  static Initializer constant(double value) {
    return {Kind::constant, value, 0};
  }
  /// N(mean, deviation²).
  static Initializer normal(double mean, double deviation) {
    return {Kind::normal, mean, deviation};
  }
  /// U(−bound, bound).
  static Initializer uniform(double bound) { return {Kind::uniform, 0, bound}; }

  double operator()(const CounterRandom& random, std::uint64_t index) const {
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

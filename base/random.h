#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

namespace mumoe {

/// What a random number is for. Numbers of different purposes are independent
/// even when seed, stream and index agree. Values are stored behaviour: a
/// change of one changes every run, so they are only ever added.
enum class Purpose : std::uint32_t {
  parameter_init = 1,
  sample_order = 2,
  window_offset = 3,
  generation = 4,
  measurement = 5,
  test = 100,
};

/// 64-bit FNV-1a; names parameter streams.
constexpr std::uint64_t hash_name(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  }
  return hash;
}

/// Counter-based random numbers, Philox4x32-10 (Salmon et al., "Parallel random
/// numbers: as easy as 1, 2, 3", SC'11). A number is a pure function of
/// (seed, purpose, stream, index): no state, so any rank can draw any number in
/// any order. Copies are cheap; safe to use from many threads.
class CounterRandom {
 public:
  CounterRandom(std::uint64_t seed, Purpose purpose, std::uint64_t stream = 0)
      : key_{low(seed), high(seed)},
        stream_{low(stream),
                high(stream) ^ static_cast<std::uint32_t>(purpose) << 24} {}

  /// 128 random bits for `index`.
  std::array<std::uint32_t, 4> bits(std::uint64_t index) const {
    std::array<std::uint32_t, 4> c{low(index),
                                   high(index),
                                   stream_[0],
                                   stream_[1]};
    std::uint32_t k0 = key_[0];
    std::uint32_t k1 = key_[1];
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
      c = {high(p1) ^ c[1] ^ k0, low(p1), high(p0) ^ c[3] ^ k1, low(p0)};
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return c;
  }

  /// Uniform in [0, 1), 53 bits.
  double uniform(std::uint64_t index) const {
    const auto b = bits(index);
    return to_unit(b[0], b[1]);
  }

  /// Standard normal by Box-Muller; one block of bits a number, so that the
  /// value depends on `index` alone.
  double normal(std::uint64_t index) const {
    const auto b = bits(index);
    const double radius = std::sqrt(-2.0 * std::log1p(-to_unit(b[0], b[1])));
    return radius * std::cos(2.0 * std::numbers::pi * to_unit(b[2], b[3]));
  }

  /// Uniform integer in [0, bound), bound > 0, by multiplication of 64 bits
  /// (bias below bound / 2^64).
  std::uint64_t below(std::uint64_t index, std::uint64_t bound) const {
    __extension__ using Product = unsigned __int128;  // no standard C++
    const auto b = bits(index);
    const std::uint64_t wide = std::uint64_t{b[1]} << 32 | b[0];
    return static_cast<std::uint64_t>((Product{wide} * bound) >> 64);
  }

 private:
  static constexpr std::uint32_t low(std::uint64_t v) {
    return static_cast<std::uint32_t>(v);
  }
  static constexpr std::uint32_t high(std::uint64_t v) {
    return static_cast<std::uint32_t>(v >> 32);
  }
  static double to_unit(std::uint32_t lo, std::uint32_t hi) {
    const std::uint64_t bits53 = (std::uint64_t{hi} << 32 | lo) >> 11;
    return static_cast<double>(bits53) * 0x1.0p-53;
  }

  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 2> stream_;
};

}  // namespace mumoe

#pragma once

#include <cstdint>
#include <string>

#include "data/text/token_file.h"

namespace mumoe::data {

/// Throws `InputError` unless `tokens` tokens hold one window of `context` + 1:
/// a line with `what` (the file they are of; empty: none), both numbers, and
/// what to do.
void require_window(std::uint64_t tokens,
                    std::int64_t context,
                    const std::string& what = {});

/// Where `i` goes in a permutation of [0, size) chosen by (seed, epoch). O(1)
/// memory and time: a Feistel network on the digits of `i` to a base near
/// sqrt(size), repeated while the result lies outside ("cycle walking"; Black
/// and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
/// Requires i < size < 2^62.
std::uint64_t permute(std::uint64_t seed,
                      std::uint64_t epoch,
                      std::uint64_t size,
                      std::uint64_t i);

/// The order in which `size` items are visited: each epoch is a permutation of
/// its own, without replacement. A pure function of (seed, sample), where
/// `sample` counts all samples of a run, whatever rank draws them; so it does
/// not depend on the number of ranks and needs no state to resume.
class Sampler {
 public:
  /// Throws `InputError` unless `size` > 0.
  Sampler(std::uint64_t seed, std::uint64_t size);

  std::uint64_t size() const { return size_; }
  std::uint64_t epoch(std::uint64_t sample) const { return sample / size_; }

  /// The item that global sample `sample` is, in [0, size).
  std::uint64_t item(std::uint64_t sample) const;

 private:
  std::uint64_t seed_;
  std::uint64_t size_;
};

/// Windows of `context` + 1 tokens (inputs and, one later, targets) over a
/// stream of `tokens` tokens. An epoch visits windows that start `context`
/// apart, so each token is a target at most once; every epoch shifts them by
/// its own random offset in [0, context), so that texts are cut at other
/// places. One window is given up for the shift, which makes epochs equally
/// long; a stream of a single window is not shifted.
class WindowSampler {
 public:
  /// Throws `InputError` as `require_window` unless one window fits.
  WindowSampler(std::uint64_t seed,
                std::uint64_t tokens,
                std::int64_t context,
                const std::string& what = {});
  /// Over the tokens of `file`, which the error names.
  WindowSampler(std::uint64_t seed,
                const TokenFile& file,
                std::int64_t context);

  /// Windows an epoch.
  std::uint64_t windows() const { return order_.size(); }
  std::int64_t context() const { return static_cast<std::int64_t>(context_); }
  std::uint64_t epoch(std::uint64_t sample) const {
    return order_.epoch(sample);
  }

  /// Where the window of global sample `sample` starts; the window ends within
  /// the stream.
  std::uint64_t first_token(std::uint64_t sample) const;

 private:
  std::uint64_t seed_;
  std::uint64_t context_;
  bool shifted_;
  Sampler order_;
};

}  // namespace mumoe::data

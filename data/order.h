#pragma once

#include <cstdint>
#include <vector>

namespace mumoe::data {

/// Where `i` goes in a permutation of [0, size) chosen by (seed, epoch). O(1)
/// memory and time: a Feistel network on the digits of `i` to a base near
/// sqrt(size), repeated while the result lies outside ("cycle walking"; Black
/// and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
/// Requires i < size < 2^62.
std::uint64_t permute(std::uint64_t seed,
                      std::uint64_t epoch,
                      std::uint64_t size,
                      std::uint64_t i);

/// Which sample of `Samples` (data/samples.h) each sample of a run is. A pure
/// function of the sample's number, which counts all samples of the run, 0, 1,
/// 2, ..., whatever rank takes them. Immutable; safe to use from many threads.
class SampleOrder {
 public:
  virtual ~SampleOrder() = default;
  /// The index, item and epoch in one, of the run's sample number `sample`.
  virtual std::uint64_t index(std::uint64_t sample) const = 0;
};

/// The order in which `size` items are visited: each epoch is a permutation of
/// its own, without replacement. A pure function of (seed, sample), where
/// `sample` counts all samples of a run, whatever rank draws them; so it does
/// not depend on the number of ranks and needs no state to resume.
class Order final : public SampleOrder {
 public:
  /// Throws `InputError` unless `size` > 0.
  Order(std::uint64_t seed, std::uint64_t size);

  std::uint64_t size() const { return size_; }
  std::uint64_t epoch(std::uint64_t sample) const { return sample / size_; }

  /// The item that global sample `sample` is, in [0, size).
  std::uint64_t item(std::uint64_t sample) const;
  /// The same as an index of `Samples`, which has the epoch in it.
  std::uint64_t index(std::uint64_t sample) const override {
    return epoch(sample) * size_ + item(sample);
  }

 private:
  std::uint64_t seed_;
  std::uint64_t size_;
};

/// The samples on which a model is evaluated: `count` of `size`, spread evenly,
/// the same at every evaluation; all there are when they are fewer. Throws
/// `InputError` unless `count` > 0.
std::vector<std::uint64_t> evaluation_samples(std::uint64_t size,
                                              std::int64_t count);

}  // namespace mumoe::data

#pragma once

#include <cstdint>
#include <vector>

#include "data/order.h"
#include "data/samples.h"

// Several sources of samples as one, in shares of one's own.

namespace mumoe::data {

/// Where a sample of a mixture is from.
struct SourceSample {
  std::size_t source = 0;
  std::uint64_t index = 0;  ///< Of that source's `Samples`, epoch included.
};

/// The samples of several sources side by side. Item i is the i-th of all, one
/// source after the other; the epoch in an index is that of the item's source,
/// which need not be the others'.
class MixedSamples final : public Samples {
 public:
  /// `sources` must outlive this. Throws `InputError` unless there is one, and
  /// all have the same targets a sample.
  explicit MixedSamples(std::vector<const Samples*> sources);

  std::uint64_t size() const override { return ends_.back(); }
  std::int64_t targets_per_sample() const override {
    return sources_.front()->targets_per_sample();
  }
  /// Throws `InputError` where sources give rows of unlike form.
  HostBatch make(std::span<const std::uint64_t> indices) const override;

  SourceSample source_of(std::uint64_t index) const;

 private:
  std::vector<const Samples*> sources_;
  std::vector<std::uint64_t> ends_;  ///< Where the items of each end.
};

/// The order in which the samples of a mixture come. Positions are cut into
/// blocks of some 1000, in each of which a source has the same whole number of
/// places: its weight's share, by largest remainders, and at least one. The
/// places are shuffled once and turned by a random offset a block. A source's
/// samples come at its places in an order of its own, an epoch a permutation,
/// each sample once an epoch. A pure function of (seed, sample), found in time
/// and memory that do not depend on sizes or position. One source gives
/// `Order`.
class MixtureOrder final : public SampleOrder {
 public:
  struct Source {
    std::uint64_t size = 0;
    double weight = 1;  ///< Relative to the others'.
  };
  /// Throws `InputError` unless there are 1 to 256 sources, with a sample and a
  /// weight above 0 each.
  MixtureOrder(std::uint64_t seed, const std::vector<Source>& sources);

  /// An index of `MixedSamples` of the same sources.
  std::uint64_t index(std::uint64_t sample) const override;
  /// The source of the run's sample number `sample`.
  std::size_t source(std::uint64_t sample) const;
  /// Places of a block, and a source's of these.
  std::uint64_t block() const { return places_.size(); }
  std::uint64_t share(std::size_t source) const { return shares_[source]; }

 private:
  /// How many of the first `place` places of the shuffled block are `source`'s.
  std::uint64_t before(std::uint64_t place, std::size_t source) const {
    return before_[place * orders_.size() + source];
  }
  /// How far block `block` is turned.
  std::uint64_t turn(std::uint64_t block) const;

  std::uint64_t seed_;
  std::vector<Order> orders_;          ///< Of each source.
  std::vector<std::uint64_t> starts_;  ///< Of its items among all.
  std::vector<std::uint64_t> shares_;  ///< Places in a block.
  std::vector<std::uint16_t> places_;  ///< Whose each is.
  std::vector<std::uint32_t> before_;  ///< [block + 1, sources]
  std::uint64_t size_ = 0;
};

}  // namespace mumoe::data

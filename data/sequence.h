#pragma once

#include <cstdint>
#include <span>

#include "data/order.h"
#include "data/samples.h"

namespace mumoe::data {

/// The samples of a run, by their numbers in it: 0, 1, 2, ... in the order in
/// which all ranks together take them. Immutable; safe to use from many
/// threads. What it refers to must outlive it.
class Sequence {
 public:
  virtual ~Sequence() = default;

  virtual const SampleOrder& order() const = 0;
  /// The samples `numbers`, in that order, with their numbers and indices.
  virtual HostBatch make(std::span<const std::uint64_t> numbers) const = 0;
};

/// `samples` in `order`.
class OrderedSamples final : public Sequence {
 public:
  OrderedSamples(const Samples& samples, const SampleOrder& order)
      : samples_(samples), order_(order) {}

  const SampleOrder& order() const override { return order_; }
  HostBatch make(std::span<const std::uint64_t> numbers) const override;

 private:
  const Samples& samples_;
  const SampleOrder& order_;
};

}  // namespace mumoe::data

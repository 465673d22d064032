#pragma once

#include <cstdint>
#include <vector>

#include "data/samples.h"

namespace mumoe::testing {

/// Samples that are their own indices, `targets` times each.
class CountedSamples final : public data::Samples {
 public:
  explicit CountedSamples(std::uint64_t size, std::int64_t targets = 1)
      : size_(size), targets_(targets) {}

  std::uint64_t size() const override { return size_; }
  std::int64_t targets_per_sample() const override { return targets_; }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override {
    std::vector<std::int32_t> rows;
    for (const std::uint64_t index : indices) {
      rows.insert(rows.end(), targets_, static_cast<std::int32_t>(index));
    }
    return {static_cast<std::int64_t>(indices.size()), rows, rows};
  }

 private:
  std::uint64_t size_;
  std::int64_t targets_;
};

}  // namespace mumoe::testing

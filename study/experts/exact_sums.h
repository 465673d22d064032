#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dist/communicator.h"

namespace mumoe::study {

/// Sums that have the same bits in whatever order, and over however many ranks,
/// their terms are added: each term is rounded to a multiple of 2^-34 first.
/// Terms are finite; |sum| < 2^29, which is checked of each term.
class ExactSums {
 public:
  explicit ExactSums(std::size_t sums) : units_(sums) {}

  void add(std::size_t sum, double term);
  double of(std::size_t sum) const;
  std::size_t size() const { return units_.size(); }
  /// The sums of all ranks of `world`. Collective.
  void merge(dist::Communicator& world);

 private:
  std::vector<std::int64_t> units_;
};

/// Adds up `counts` over all ranks of `world`. Collective.
void merge_counts(dist::Communicator& world, std::vector<std::int64_t>& counts);

}  // namespace mumoe::study

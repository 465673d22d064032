#include "study/experts/exact_sums.h"

#include <ATen/ATen.h>

#include <cmath>

#include "base/error.h"

namespace mumoe::study {
namespace {

constexpr double kUnits = 1LL << 34;
constexpr double kLargest = 1LL << 29;

}  // namespace

void ExactSums::add(std::size_t sum, double term) {
  MUMOE_CHECK(std::abs(term) < kLargest, "a term of {}", term);
  units_[sum] += std::llround(term * kUnits);
}

double ExactSums::of(std::size_t sum) const {
  return static_cast<double>(units_[sum]) / kUnits;
}

void ExactSums::merge(dist::Communicator& world) {
  merge_counts(world, units_);
}

void merge_counts(dist::Communicator& world,
                  std::vector<std::int64_t>& counts) {
  if (counts.empty()) return;
  world.all_reduce(at::from_blob(counts.data(),
                                 {static_cast<std::int64_t>(counts.size())},
                                 at::kLong));
}

}  // namespace mumoe::study

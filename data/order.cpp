#include "data/order.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace mumoe::data {
namespace {

constexpr std::uint64_t kRounds = 8;

/// The least base with base * base >= size.
std::uint64_t square_root_up(std::uint64_t size) {
  auto root = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(size)));
  while (root * root < size) ++root;
  while (root > 1 && (root - 1) * (root - 1) >= size) --root;
  return root;
}

}  // namespace

std::uint64_t permute(std::uint64_t seed,
                      std::uint64_t epoch,
                      std::uint64_t size,
                      std::uint64_t i) {
  const std::uint64_t columns = square_root_up(size);
  // columns * rows exceeds size by less than columns: walking is rare.
  const std::uint64_t rows = (size + columns - 1) / columns;
  const CounterRandom random(seed, Purpose::sample_order, epoch);
  do {
    std::uint64_t row = i / columns;
    std::uint64_t column = i % columns;
    for (std::uint64_t round = 0; round < kRounds; round += 2) {
      row = (row + random.below(round << 32 | column, rows)) % rows;
      column =
          (column + random.below((round + 1) << 32 | row, columns)) % columns;
    }
    i = row * columns + column;
  } while (i >= size);
  return i;
}

Order::Order(std::uint64_t seed, std::uint64_t size)
    : seed_(seed), size_(size) {
  require(size > 0, "order of 0 items: expected at least 1");
}

std::uint64_t Order::item(std::uint64_t sample) const {
  return permute(seed_, epoch(sample), size_, sample % size_);
}

std::vector<std::uint64_t> evaluation_samples(std::uint64_t size,
                                              std::int64_t count) {
  require(count > 0, "{} evaluation samples: expected at least 1", count);
  std::vector<std::uint64_t> indices(
      std::min(static_cast<std::uint64_t>(count), size));
  for (std::uint64_t i = 0; i < indices.size(); ++i) {
    indices[i] = i * size / indices.size();
  }
  return indices;
}

}  // namespace mumoe::data

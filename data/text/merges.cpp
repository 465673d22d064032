#include "data/text/merges.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/error.h"

namespace mumoe::data {
namespace {

/// Up to here a search through all pairs is faster than a heap.
constexpr std::size_t kShort = 128;
constexpr std::uint32_t kEnd = ~std::uint32_t{0};

}  // namespace

MergeTable::MergeTable(std::size_t merges)
    : slots_(std::bit_ceil(2 * merges + 2)), mask_(slots_.size() - 1) {
  MUMOE_CHECK(merges <= kMostMerges);
}

bool MergeTable::add(std::uint16_t left, std::uint16_t right, Merge merge) {
  MUMOE_CHECK(merge.rank != kNone);
  const std::uint32_t key = key_of(left, right);
  std::size_t at = home(key);
  for (; slots_[at].merge.rank != kNone; at = (at + 1) & mask_) {
    if (slots_[at].key == key) return false;
  }
  slots_[at] = {key, merge};
  return true;
}

void Merger::merge() {
  if (tokens_.size() < 2) return;
  pairs_.resize(tokens_.size() - 1);
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    pairs_[i] = table_.find(tokens_[i], tokens_[i + 1]);
  }
  if (tokens_.size() <= kShort) {
    merge_short();
  } else {
    merge_long();
  }
}

void Merger::merge_short() {
  std::size_t pairs = pairs_.size();
  while (pairs > 0) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < pairs; ++i) {
      if (pairs_[i].rank < pairs_[best].rank) best = i;
    }
    if (pairs_[best].rank == MergeTable::kNone) break;
    tokens_[best] = pairs_[best].id;
    std::copy(tokens_.begin() + best + 2,
              tokens_.begin() + pairs + 1,
              tokens_.begin() + best + 1);
    std::copy(pairs_.begin() + best + 1,
              pairs_.begin() + pairs,
              pairs_.begin() + best);
    --pairs;
    if (best > 0) {
      pairs_[best - 1] = table_.find(tokens_[best - 1], tokens_[best]);
    }
    if (best < pairs) {
      pairs_[best] = table_.find(tokens_[best], tokens_[best + 1]);
    }
  }
  tokens_.resize(pairs + 1);
}

/// Puts the pair that begins at `at` on the heap, if it is known.
void Merger::consider(std::uint32_t at) {
  pairs_[at] = table_.find(tokens_[at], tokens_[next_[at]]);
  if (pairs_[at].rank == MergeTable::kNone) return;
  heap_.push_back(std::uint64_t{pairs_[at].rank} << 32 | at);
  std::ranges::push_heap(heap_, std::greater{});
}

/// Takes the best pair that is still there off the heap; its position.
std::uint32_t Merger::pop() {
  while (!heap_.empty()) {
    std::ranges::pop_heap(heap_, std::greater{});
    const std::uint64_t best = heap_.back();
    heap_.pop_back();
    const auto at = static_cast<std::uint32_t>(best);
    if (pairs_[at].rank == best >> 32) return at;
  }
  return kEnd;
}

void Merger::merge_long() {
  const auto count = static_cast<std::uint32_t>(tokens_.size());
  previous_.resize(count);
  next_.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    previous_[i] = i == 0 ? kEnd : i - 1;
    next_[i] = i + 1 == count ? kEnd : i + 1;
  }
  pairs_.push_back({MergeTable::kNone, 0});
  heap_.clear();
  for (std::uint32_t i = 0; i + 1 < count; ++i) {
    if (pairs_[i].rank == MergeTable::kNone) continue;
    heap_.push_back(std::uint64_t{pairs_[i].rank} << 32 | i);
  }
  std::ranges::make_heap(heap_, std::greater{});
  for (std::uint32_t at = pop(); at != kEnd; at = pop()) {
    const std::uint32_t gone = next_[at];
    tokens_[at] = pairs_[at].id;
    pairs_[at].rank = pairs_[gone].rank = MergeTable::kNone;
    next_[at] = next_[gone];
    if (next_[at] != kEnd) {
      previous_[next_[at]] = at;
      consider(at);
    }
    if (previous_[at] != kEnd) consider(previous_[at]);
  }
  std::uint32_t kept = 0;
  for (std::uint32_t i = 0; i != kEnd; i = next_[i]) {
    tokens_[kept++] = tokens_[i];
  }
  tokens_.resize(kept);
}

}  // namespace mumoe::data

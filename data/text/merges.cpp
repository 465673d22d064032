#include "data/text/merges.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>

#include "base/error.h"

namespace mumoe::data {
namespace {

/// Up to here a search through all pairs, eight at a time, beats a heap.
constexpr std::size_t kShort = 512;
constexpr std::uint32_t kEnd = ~std::uint32_t{0};

/// The smallest of `ranks`. Written so that compilers use the smallest of eight
/// signed numbers at once, which every x86-64 has.
std::uint16_t smallest(const std::uint16_t* ranks, std::size_t count) {
  std::int16_t least = 32767;
  for (std::size_t i = 0; i < count; ++i) {
    const auto shifted = static_cast<std::int16_t>(ranks[i] ^ 0x8000);
    least = shifted < least ? shifted : least;
  }
  return static_cast<std::uint16_t>(least) ^ 0x8000;
}

}  // namespace

MergeTable::MergeTable(std::size_t merges)
    : slots_(std::bit_ceil(2 * merges + 2)),
      mask_(slots_.size() - 1),
      ids_(merges) {
  MUMOE_CHECK(merges <= kMostMerges);
}

bool MergeTable::add(std::uint16_t left, std::uint16_t right, Merge merge) {
  MUMOE_CHECK(merge.rank < ids_.size());
  const std::uint32_t key = key_of(left, right);
  std::size_t at = home(key);
  for (; slots_[at].rank != kNone; at = (at + 1) & mask_) {
    if (slots_[at].key == key) return false;
  }
  slots_[at] = {key, merge.rank};
  ids_[merge.rank] = merge.id;
  return true;
}

void Merger::merge() {
  if (tokens_.size() < 2) return;
  ranks_.resize(tokens_.size() - 1);
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    ranks_[i] = table_.find(tokens_[i], tokens_[i + 1]);
  }
  if (tokens_.size() <= kShort) {
    merge_short();
  } else {
    merge_long();
  }
}

void Merger::merge_short() {
  std::uint16_t* tokens = tokens_.data();
  std::uint16_t* ranks = ranks_.data();
  std::size_t pairs = ranks_.size();
  while (pairs > 0) {
    const std::uint16_t rank = smallest(ranks, pairs);
    if (rank == MergeTable::kNone) break;
    const auto best =
        static_cast<std::size_t>(std::find(ranks, ranks + pairs, rank) - ranks);
    tokens[best] = table_.merged(rank);
    std::copy(tokens + best + 2, tokens + pairs + 1, tokens + best + 1);
    std::copy(ranks + best + 1, ranks + pairs, ranks + best);
    --pairs;
    if (best > 0) ranks[best - 1] = table_.find(tokens[best - 1], tokens[best]);
    if (best < pairs) ranks[best] = table_.find(tokens[best], tokens[best + 1]);
  }
  tokens_.resize(pairs + 1);
}

/// Puts the pair that begins at `at` on the heap, if it is known.
void Merger::consider(std::uint32_t at) {
  ranks_[at] = table_.find(tokens_[at], tokens_[next_[at]]);
  if (ranks_[at] == MergeTable::kNone) return;
  heap_.push_back(std::uint64_t{ranks_[at]} << 32 | at);
  std::ranges::push_heap(heap_, std::greater{});
}

/// Takes the best pair that is still there off the heap; its position.
std::uint32_t Merger::pop() {
  while (!heap_.empty()) {
    std::ranges::pop_heap(heap_, std::greater{});
    const std::uint64_t best = heap_.back();
    heap_.pop_back();
    const auto at = static_cast<std::uint32_t>(best);
    if (ranks_[at] == best >> 32) return at;
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
  ranks_.push_back(MergeTable::kNone);
  heap_.clear();
  for (std::uint32_t i = 0; i + 1 < count; ++i) {
    if (ranks_[i] == MergeTable::kNone) continue;
    heap_.push_back(std::uint64_t{ranks_[i]} << 32 | i);
  }
  std::ranges::make_heap(heap_, std::greater{});
  for (std::uint32_t at = pop(); at != kEnd; at = pop()) {
    const std::uint32_t gone = next_[at];
    tokens_[at] = table_.merged(ranks_[at]);
    ranks_[at] = ranks_[gone] = MergeTable::kNone;
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

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace mumoe::data {

/// The pairs of neighbouring tokens that byte-pair encoding merges, each with
/// its rank (the order in which it was learnt) and the token it becomes.
/// Token ids and ranks take 16 bits. Safe to read from many threads.
class MergeTable {
 public:
  struct Merge {
    std::uint16_t rank;
    std::uint16_t id;
  };
  static constexpr std::size_t kMostMerges = 65535;

  /// For up to `merges` of them, of the ranks below `merges`.
  explicit MergeTable(std::size_t merges);

  /// Adds a pair. Returns whether it is new; that of the first stays.
  bool add(std::uint16_t left, std::uint16_t right, Merge merge);

  /// The rank of `left` and `right`; `kNone` if they do not merge.
  std::uint16_t find(std::uint16_t left, std::uint16_t right) const {
    const std::uint32_t key = key_of(left, right);
    for (std::size_t at = home(key);; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.key == key || slot.rank == kNone) return slot.rank;
    }
  }
  static constexpr std::uint16_t kNone = 65535;

  /// What the pair of that rank becomes.
  std::uint16_t merged(std::uint16_t rank) const { return ids_[rank]; }

 private:
  struct Slot {
    std::uint32_t key = 0;
    std::uint16_t rank = kNone;
  };
  static std::uint32_t key_of(std::uint16_t left, std::uint16_t right) {
    return std::uint32_t{left} << 16 | right;
  }
  std::size_t home(std::uint32_t key) const {
    return (key * std::uint64_t{0x9E3779B97F4A7C15} >> 32) & mask_;
  }

  std::vector<Slot> slots_;
  std::size_t mask_;
  std::vector<std::uint16_t> ids_;  ///< By rank.
};

/// Merges the tokens of a word: again and again the pair of lowest rank, the
/// leftmost of equals, until no pair is known. Keeps its memory between calls.
/// For one thread at a time.
class Merger {
 public:
  explicit Merger(const MergeTable& table) : table_(table) {}

  /// Puts the word's first tokens, one a byte, here before `merge`.
  std::vector<std::uint16_t>& tokens() { return tokens_; }

  /// Replaces `tokens()` by what they become. O(n log n) for long words.
  void merge();

 private:
  void merge_short();
  void merge_long();
  void consider(std::uint32_t at);
  std::uint32_t pop();

  const MergeTable& table_;
  std::vector<std::uint16_t> tokens_;
  std::vector<std::uint16_t> ranks_;  ///< Of token i and its right neighbour.
  // For long words: the tokens that are left form a list, and a heap has the
  // pairs, rank in the upper half, position in the lower.
  std::vector<std::uint32_t> previous_, next_;
  std::vector<std::uint64_t> heap_;
};

}  // namespace mumoe::data

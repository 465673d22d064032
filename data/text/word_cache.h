#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace mumoe::data {

/// Tokens of words that were seen before: a table of fixed size in which a word
/// has one place, and the last one that came there stays. For one thread at a
/// time.
class WordCache {
 public:
  static constexpr std::size_t kLongestWord = 31;
  static constexpr std::size_t kMostTokens = 15;

  WordCache() : entries_(std::size_t{1} << kBits) {}

  /// A word of 1 to `kLongestWord` bytes, as the cache looks it up.
  struct Key {
    explicit Key(std::string_view word) {
      std::array<char, 32> bytes{};
      std::memcpy(bytes.data(), word.data(), word.size());
      bytes.back() = static_cast<char>(word.size());
      std::memcpy(words.data(), bytes.data(), sizeof words);
    }
    bool operator==(const Key&) const = default;
    std::array<std::uint64_t, 4> words{};

   private:
    friend class WordCache;
    Key() = default;
  };

  /// The tokens of `key`, until the next `put`; empty when it does not know
  /// them.
  std::span<const std::uint16_t> find(const Key& key) const {
    const Entry& entry = entries_[place(key)];
    if (entry.key != key) return {};
    return {entry.tokens.data(), entry.count};
  }

  /// Remembers 1 to `kMostTokens` tokens.
  void put(const Key& key, std::span<const std::uint16_t> tokens) {
    Entry& entry = entries_[place(key)];
    entry.key = key;
    entry.count = static_cast<std::uint16_t>(tokens.size());
    std::memcpy(entry.tokens.data(), tokens.data(), tokens.size_bytes());
  }

 private:
  static constexpr int kBits = 15;
  /// A line of the processor's cache.
  struct alignas(64) Entry {
    Key key;  ///< Of no word, at first: words have a length.
    std::array<std::uint16_t, kMostTokens> tokens{};
    std::uint16_t count = 0;
  };
  static_assert(sizeof(Entry) == 64);

  static std::size_t place(const Key& key) {
    std::uint64_t hash = 0;
    for (const std::uint64_t word : key.words) {
      hash = (hash ^ word) * 0x9E3779B97F4A7C15;
      hash ^= hash >> 32;
    }
    return hash * 0xD6E8FEB86659FD93 >> (64 - kBits);
  }

  std::vector<Entry> entries_;
};

}  // namespace mumoe::data

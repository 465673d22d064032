#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

struct pcre2_real_code_8;

namespace mumoe::data {

/// GPT-2's encoding as it is written down, for comparison: the pattern cuts
/// every word, and of a word's pieces of text the pair that stands first in
/// vocab.bpe is joined, leftmost first, found by looking at all of them.
class BpeOracle {
 public:
  explicit BpeOracle(const std::filesystem::path& folder);
  ~BpeOracle();

  std::vector<std::int32_t> encode(std::string_view text) const;
  std::vector<std::string_view> words(std::string_view text) const;

 private:
  void encode_word(std::string_view word, std::vector<std::int32_t>& ids) const;
  void words_of_utf8(std::string_view text,
                     std::vector<std::string_view>& words) const;

  pcre2_real_code_8* code_;
  std::vector<std::string> spelling_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::unordered_map<std::string, std::size_t> ranks_;  ///< "left right"
};

}  // namespace mumoe::data

#include "tests/data/text/bpe_oracle.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "data/text/words.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace mumoe::data {
namespace {

constexpr std::string_view kPattern =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+)"
    R"(| ?[^\p{White_Space}\p{L}\p{N}]+)"
    R"(|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+)";

std::string spelled(unsigned code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | code >> 6),
          static_cast<char>(0x80 | (code & 0x3F))};
}

}  // namespace

BpeOracle::BpeOracle(const std::filesystem::path& folder) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPattern.data()),
                        kPattern.size(),
                        PCRE2_UTF | PCRE2_UCP,
                        &error,
                        &offset,
                        nullptr);
  MUMOE_CHECK(code_ != nullptr);
  unsigned next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) ||
                           (byte >= 161 && byte <= 172) || byte >= 174;
    spelling_.push_back(spelled(printable ? byte : next++));
  }
  const auto json = nlohmann::json::parse(read_file(folder / "encoder.json"));
  for (const auto& [token, id] : json.items()) ids_[token] = id;
  std::istringstream lines(read_file(folder / "vocab.bpe"));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) ranks_.emplace(line, ranks_.size());
}

BpeOracle::~BpeOracle() {
  pcre2_code_free(code_);
}

void BpeOracle::words_of_utf8(std::string_view text,
                              std::vector<std::string_view>& words) const {
  pcre2_match_data* match =
      pcre2_match_data_create_from_pattern(code_, nullptr);
  for (std::size_t at = 0; at < text.size();) {
    const int found = pcre2_match(code_,
                                  reinterpret_cast<PCRE2_SPTR>(text.data()),
                                  text.size(),
                                  at,
                                  0,
                                  match,
                                  nullptr);
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(match);
    MUMOE_CHECK(found > 0 && span[0] == at && span[1] > at);
    words.push_back(text.substr(at, span[1] - at));
    at = span[1];
  }
  pcre2_match_data_free(match);
}

std::vector<std::string_view> BpeOracle::words(std::string_view text) const {
  std::vector<std::string_view> words;
  std::size_t begin = 0, at = 0;
  while (at < text.size()) {
    const int length = utf8_length(text.substr(at, 4));
    if (length == 0) {
      words_of_utf8(text.substr(begin, at - begin), words);
      words.push_back(text.substr(at, 1));
      begin = at + 1;
    }
    at += length == 0 ? 1 : static_cast<std::size_t>(length);
  }
  words_of_utf8(text.substr(begin), words);
  return words;
}

void BpeOracle::encode_word(std::string_view word,
                            std::vector<std::int32_t>& ids) const {
  std::vector<std::string> parts;
  for (const char c : word) {
    parts.push_back(spelling_[static_cast<unsigned char>(c)]);
  }
  for (;;) {
    std::size_t best = ranks_.size(), at = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks_.find(parts[i] + ' ' + parts[i + 1]);
      if (found == ranks_.end() || found->second >= best) continue;
      best = found->second;
      at = i;
    }
    if (best == ranks_.size()) break;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  for (const std::string& part : parts) ids.push_back(ids_.at(part));
}

std::vector<std::int32_t> BpeOracle::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  for (const std::string_view word : words(text)) encode_word(word, ids);
  return ids;
}

}  // namespace mumoe::data

#include "data/text/words.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"

namespace mumoe::data {
namespace {

// GPT-2's pattern with \s spelt as the property White_Space: PCRE2's own \s
// also takes U+180E, which Unicode no longer counts as a space.
constexpr std::string_view kPattern =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+)"
    R"(| ?[^\p{White_Space}\p{L}\p{N}]+)"
    R"(|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+)";

struct FreeMatch {
  void operator()(pcre2_match_data* match) const {
    pcre2_match_data_free(match);
  }
};
using Match = std::unique_ptr<pcre2_match_data, FreeMatch>;

std::string message_of(int code) {
  unsigned char text[256] = "";
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

/// How many bytes at the front of `text` are well-formed UTF-8.
std::size_t well_formed_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const int length = utf8_length(text.substr(at, 4));
    if (length == 0) break;
    at += static_cast<std::size_t>(length);
  }
  return at;
}

void split_well_formed(const pcre2_code* code,
                       pcre2_match_data* match,
                       std::string_view text,
                       std::vector<std::string_view>& words) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  for (std::size_t at = 0; at < text.size();) {
    const int found = pcre2_match(code,
                                  subject,
                                  text.size(),
                                  at,
                                  PCRE2_NO_UTF_CHECK,
                                  match,
                                  nullptr);
    MUMOE_CHECK(found > 0, "word pattern at {}: {}", at, message_of(found));
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(match);
    MUMOE_CHECK(span[0] == at && span[1] > at, "word pattern left a gap");
    words.push_back(text.substr(at, span[1] - at));
    at = span[1];
  }
}

}  // namespace

int utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto continues = [&](std::size_t i) {
    return (byte(i) & 0xC0) == 0x80;
  };
  if (text.empty()) return 0;
  const unsigned first = byte(0);
  const unsigned second = byte(1);
  if (first < 0x80) return 1;
  if (!continues(1) || first < 0xC2) return 0;
  if (first < 0xE0) return 2;
  if (!continues(2)) return 0;
  if (first < 0xF0) {
    const bool overlong = first == 0xE0 && second < 0xA0;
    const bool surrogate = first == 0xED && second > 0x9F;
    return overlong || surrogate ? 0 : 3;
  }
  const bool overlong = first == 0xF0 && second < 0x90;
  const bool too_high = first > 0xF4 || (first == 0xF4 && second > 0x8F);
  return !continues(3) || overlong || too_high ? 0 : 4;
}

void WordSplitter::FreeCode::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

WordSplitter::WordSplitter() {
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPattern.data()),
                            kPattern.size(),
                            PCRE2_UTF | PCRE2_UCP,
                            &error,
                            &offset,
                            nullptr));
  MUMOE_CHECK(code_, "word pattern at {}: {}", offset, message_of(error));
  // Where memory may not be made executable this fails, and pcre2_match
  // interprets the pattern instead.
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
}

std::vector<std::string_view> WordSplitter::split(std::string_view text) const {
  const Match match(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  MUMOE_CHECK(match, "no memory for a match");
  std::vector<std::string_view> words;
  words.reserve(text.size() / 4);
  while (!text.empty()) {
    const std::size_t valid = well_formed_prefix(text);
    split_well_formed(code_.get(), match.get(), text.substr(0, valid), words);
    if (valid < text.size()) words.push_back(text.substr(valid, 1));
    text.remove_prefix(std::min(valid + 1, text.size()));
  }
  return words;
}

}  // namespace mumoe::data

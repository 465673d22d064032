#include "data/text/words.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"

namespace mumoe::data {
namespace {

// GPT-2's pattern with \s spelt as the property White_Space: PCRE2's own \s
// also takes U+180E, which Unicode no longer counts as a space.
constexpr std::string_view kPattern =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+)"
    R"(| ?[^\p{White_Space}\p{L}\p{N}]+)"
    R"(|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+)";

std::string message_of(int code) {
  unsigned char text[256] = "";
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

/// What a byte below 128 is to the pattern.
enum class Kind : std::uint8_t { letter, digit, space, other, not_ascii };

constexpr std::array<Kind, 256> kinds_of_bytes() {
  std::array<Kind, 256> kinds{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    const unsigned lower = byte | 0x20;
    kinds[byte] = byte >= 128                                ? Kind::not_ascii
                  : lower >= 'a' && lower <= 'z'             ? Kind::letter
                  : byte >= '0' && byte <= '9'               ? Kind::digit
                  : byte == ' ' || (byte >= 9 && byte <= 13) ? Kind::space
                                                             : Kind::other;
  }
  return kinds;
}
constexpr std::array<Kind, 256> kKinds = kinds_of_bytes();

Kind kind_of(char c) {
  return kKinds[static_cast<unsigned char>(c)];
}

/// Bytes of the contraction at the front of `text`, which begins with an
/// apostrophe; 0: none.
std::size_t contraction(std::string_view text) {
  if (text.size() < 2) return 0;
  const char c = text[1];
  if (c == 's' || c == 'd' || c == 'm' || c == 't') return 2;
  const std::string_view two = text.substr(1, 2);
  return two == "ll" || two == "ve" || two == "re" ? 3 : 0;
}

}  // namespace

std::size_t well_formed_prefix(std::string_view text) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  std::size_t at = 0;
  while (at < text.size()) {
    std::uint64_t eight = kHighBits;
    if (text.size() - at >= sizeof eight) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
    }
    if ((eight & kHighBits) == 0) {
      at += sizeof eight;
      continue;
    }
    const int length = utf8_length(text.substr(at, 4));
    if (length == 0) break;
    at += static_cast<std::size_t>(length);
  }
  return at;
}

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
  std::vector<std::string_view> words;
  WordCursor cursor(*this, text);
  for (auto word = cursor.next(); !word.empty(); word = cursor.next()) {
    words.push_back(word);
  }
  return words;
}

void WordCursor::FreeMatch::operator()(pcre2_real_match_data_8* match) const {
  pcre2_match_data_free(match);
}

WordCursor::WordCursor(const WordSplitter& splitter, std::string_view text)
    : code_(splitter.code_.get()), rest_(text) {
  begin_segment();
}

void WordCursor::begin_segment() {
  segment_ = rest_.substr(0, well_formed_prefix(rest_));
  rest_.remove_prefix(segment_.size());
  at_ = 0;
}

/// The end of the word at `at_`; 0 where other characters than ASCII have a
/// say.
std::size_t WordCursor::end_of_ascii_word() const {
  const std::string_view text = segment_;
  if (text[at_] == '\'') {
    const std::size_t length = contraction(text.substr(at_));
    if (length > 0) return at_ + length;
  }
  std::size_t end = at_;
  if (text[end] == ' ' && end + 1 < text.size() &&
      kind_of(text[end + 1]) != Kind::space) {
    ++end;
  }
  const Kind kind = kind_of(text[end]);
  if (kind == Kind::not_ascii) return 0;
  while (end < text.size() && kind_of(text[end]) == kind) ++end;
  if (end == text.size()) return end;
  if (kind_of(text[end]) == Kind::not_ascii) return 0;
  // The last space of several is left to the word that follows them.
  return kind == Kind::space && end - at_ > 1 ? end - 1 : end;
}

std::size_t WordCursor::end_of_word() {
  if (const std::size_t end = end_of_ascii_word()) return end;
  if (!match_) {
    match_.reset(pcre2_match_data_create_from_pattern(code_, nullptr));
    MUMOE_CHECK(match_, "no memory for a match");
  }
  const int found = pcre2_match(code_,
                                reinterpret_cast<PCRE2_SPTR>(segment_.data()),
                                segment_.size(),
                                at_,
                                PCRE2_NO_UTF_CHECK,
                                match_.get(),
                                nullptr);
  MUMOE_CHECK(found > 0, "word pattern at {}: {}", at_, message_of(found));
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(match_.get());
  MUMOE_CHECK(span[0] == at_ && span[1] > at_, "word pattern left a gap");
  return span[1];
}

std::string_view WordCursor::next() {
  if (at_ == segment_.size()) {
    if (rest_.empty()) return {};
    // What ended the segment: a byte of no character.
    const std::string_view byte = rest_.substr(0, 1);
    rest_.remove_prefix(1);
    begin_segment();
    return byte;
  }
  const std::size_t begin = std::exchange(at_, end_of_word());
  return segment_.substr(begin, at_ - begin);
}

}  // namespace mumoe::data

#include "data/text/utf8.h"

#include <algorithm>
#include <utility>

namespace mumoe::data {
namespace {

unsigned byte(char c) {
  return static_cast<unsigned char>(c);
}

/// Bytes of the character that `lead` begins; 0: none.
std::size_t length_of(unsigned lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

/// Whether `second` may follow `lead`: what is left out would be too long a
/// form, a surrogate, or beyond U+10FFFF (RFC 3629).
bool may_follow(unsigned lead, unsigned second) {
  const unsigned least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  return second >= least && second <= most;
}

}  // namespace

std::size_t unfinished_utf8(std::string_view text) {
  for (std::size_t n = 1; n <= std::min<std::size_t>(3, text.size()); ++n) {
    const std::string_view end = text.substr(text.size() - n);
    if ((byte(end[0]) & 0xC0) == 0x80) continue;
    const bool fits = n == 1 || may_follow(byte(end[0]), byte(end[1]));
    return fits && length_of(byte(end[0])) > n ? n : 0;
  }
  return 0;
}

std::string WholeCharacters::take(std::string_view bytes) {
  std::string text = std::exchange(held_, {}).append(bytes);
  const std::size_t whole = text.size() - unfinished_utf8(text);
  held_ = text.substr(whole);
  text.resize(whole);
  return text;
}

}  // namespace mumoe::data

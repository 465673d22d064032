#include "base/error.h"

#include <fmt/format.h>

namespace mumoe {

std::string one_line(std::string_view text) {
  constexpr std::size_t kLongest = 2000, kHead = 1400, kTail = 500;
  constexpr char kHex[] = "0123456789abcdef";
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      line += c;
    } else if (c == '\n') {
      line += "\\n";
    } else if (c == '\t') {
      line += "\\t";
    } else if (c == '\r') {
      line += "\\r";
    } else {
      line += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  if (line.size() <= kLongest) return line;
  return line.substr(0, kHead) + " ... " + line.substr(line.size() - kTail);
}

std::string format_message(fmt::string_view text, fmt::format_args arguments) {
  return fmt::vformat(text, arguments);
}

}  // namespace mumoe

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mumoe::data {

/// How many bytes at the end of `text` begin a UTF-8 character that is not
/// whole yet, 0 to 3. Bytes that cannot become one are none of them.
std::size_t unfinished_utf8(std::string_view text);

/// Text that arrives in pieces which may end inside a character, handed on in
/// whole characters. Bytes that are no UTF-8 are handed on as they are.
class WholeCharacters {
 public:
  /// `bytes` and what was held back, without an unfinished character at the
  /// end, which is held back.
  std::string take(std::string_view bytes);

 private:
  std::string held_;
};

}  // namespace mumoe::data

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace mumoe::data {

/// `name` on one line of UTF-8: control characters and bytes of no character
/// as \n, \t, \xff.
std::string printable(std::string_view name);

/// What is odd about a text that is trained on all the same.
struct TextFindings {
  std::uint64_t invalid = 0;        ///< Bytes that are no part of UTF-8.
  std::uint64_t first_invalid = 0;  ///< Offset of the first.
  bool byte_order_mark = false;     ///< UTF-8's, at the front.
};

/// Looks through the text `bytes` of `path`. Throws `InputError` naming form
/// and offset when it is none in UTF-8: UTF-16 or UTF-32, an archive or another
/// binary format, a zero byte, or more than one invalid byte in a hundred (one
/// of the old encodings of a byte a character, as a rule).
TextFindings check_text(const std::filesystem::path& path,
                        std::string_view bytes);

/// Throws `InputError` when `bytes`, of the token file `path` without llm.c's
/// header, are not 16-bit tokens but of a form that is recognised: tokens of 32
/// or 64 bits, a NumPy array, an archive, a text, another of llm.c's files.
/// Looks at the first 128 KiB.
void check_token_form(const std::filesystem::path& path,
                      std::span<const std::byte> bytes);

}  // namespace mumoe::data

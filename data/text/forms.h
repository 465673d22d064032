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

/// Throws `InputError` when `bytes`, the front of the text `path`, are those of
/// UTF-16 or UTF-32, an archive or another binary format, naming the form.
void check_front(const std::filesystem::path& path, std::string_view bytes);

/// What is odd about a part of a text that begins at `offset` of it. Throws
/// `InputError` naming the offset of a zero byte.
TextFindings find_oddities(const std::filesystem::path& path,
                           std::string_view bytes,
                           std::uint64_t offset);

/// Throws `InputError` when more than one byte in a hundred of a text of `size`
/// bytes is invalid (one of the old encodings of a byte a character, as a
/// rule).
void check_findings(const std::filesystem::path& path,
                    const TextFindings& found,
                    std::uint64_t size);

/// Throws `InputError` when `bytes`, of the token file `path` without llm.c's
/// header, are not 16-bit tokens but of a form that is recognised: tokens of 32
/// or 64 bits, a NumPy array, an archive, a text, another of llm.c's files.
/// Looks at the first 128 KiB.
void check_token_form(const std::filesystem::path& path,
                      std::span<const std::byte> bytes);

}  // namespace mumoe::data

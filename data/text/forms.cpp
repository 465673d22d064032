#include "data/text/forms.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string>

#include "base/error.h"
#include "data/text/words.h"

namespace mumoe::data {
namespace {

using namespace std::string_view_literals;

/// Less is no evidence of a form.
constexpr std::size_t kLeastTokens = 16;
constexpr std::size_t kLookedAt = 1 << 17;
/// Vocabularies of 32-bit token files end below five times 2^16.
constexpr std::uint16_t kHighestHighHalf = 4;

/// Formats that tell themselves by their first bytes; empty: none of them.
std::string_view format_of(std::string_view bytes) {
  struct Format {
    std::string_view magic, name;
  };
  constexpr std::array kFormats = {
      Format{"\x93NUMPY"sv, "a NumPy array (.npy)"sv},
      Format{"\x1f\x8b\x08"sv, "packed by gzip"sv},
      Format{"PK\x03\x04"sv, "a zip archive (.zip, .npz, .docx)"sv},
      Format{"\x28\xb5\x2f\xfd"sv, "packed by zstd"sv},
      Format{"\xfd\x37zXZ\0"sv, "packed by xz"sv},
      Format{"\x04\x22\x4d\x18"sv, "packed by lz4"sv},
      Format{"\x37\x7a\xbc\xaf\x27\x1c"sv, "a 7z archive"sv},
      Format{"%PDF-"sv, "a PDF document"sv},
      Format{"SQLite format 3\0"sv, "an SQLite database"sv},
      Format{"\x80\x04\x95"sv, "a Python pickle"sv},
      Format{"\x89HDF\r\n\x1a\n"sv, "an HDF5 file"sv},
      Format{"PAR1"sv, "a Parquet file"sv},
      Format{"ARROW1\0\0"sv, "an Arrow file"sv},
      Format{"MMIDIDX\0\0"sv, "Megatron's index of token files (.idx)"sv},
  };
  for (const Format& format : kFormats) {
    if (bytes.starts_with(format.magic)) return format.name;
  }
  const bool bzip2 = bytes.starts_with("BZh") && bytes.size() > 10 &&
                     bytes.substr(4, 6) == "1AY&SY";
  return bzip2 ? "packed by bzip2" : "";
}

/// UTF-16 and UTF-32, by their byte order mark or by the zero bytes of Latin
/// letters; empty: neither.
std::string_view wide_encoding(std::string_view bytes) {
  if (bytes.starts_with("\xff\xfe\0\0"sv)) return "UTF-32";
  if (bytes.starts_with("\0\0\xfe\xff"sv)) return "UTF-32";
  if (bytes.starts_with("\xff\xfe"sv)) return "UTF-16";
  if (bytes.starts_with("\xfe\xff"sv)) return "UTF-16";
  if (bytes.size() < 8) return "";
  const std::string_view front = bytes.substr(0, 4096);
  std::array<std::size_t, 2> zeros{};
  for (std::size_t i = 0; i < front.size(); ++i) zeros[i % 2] += !front[i];
  const auto [fewer, more] = std::minmax(zeros[0], zeros[1]);
  return more > front.size() / 4 && fewer == 0 ? "UTF-16" : "";
}

TextFindings find_invalid(std::string_view text) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  TextFindings found;
  found.byte_order_mark = text.starts_with("\xef\xbb\xbf");
  for (std::size_t at = 0; at < text.size();) {
    std::uint64_t word = kHighBits;
    if (text.size() - at >= sizeof word) {
      std::memcpy(&word, text.data() + at, sizeof word);
    }
    if ((word & kHighBits) == 0) {
      at += sizeof word;
      continue;
    }
    const int length = utf8_length(text.substr(at, 4));
    if (length == 0 && found.invalid++ == 0) found.first_invalid = at;
    at += std::max(length, 1);
  }
  return found;
}

/// Whether all `bytes` are characters that are written, none of control.
bool reads_as_text(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const auto byte = static_cast<unsigned char>(bytes[at]);
    const bool control =
        byte < 32 && byte != '\n' && byte != '\r' && byte != '\t';
    const int length =
        control || byte == 127 ? 0 : utf8_length(bytes.substr(at, 4));
    // The end may cut a character.
    if (length == 0) return byte >= 0x80 && bytes.size() - at < 4;
    at += static_cast<std::size_t>(length);
  }
  return true;
}

/// The first word is `low`, those after it, of `words` a token, small.
bool tokens_of_words(std::span<const std::uint16_t> all, std::size_t words) {
  if (all.size() < kLeastTokens * words) return false;
  std::uint16_t low = 0, high = 0, highest = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::uint16_t& largest = i % words == 0   ? low
                             : i % words == 1 ? high
                                              : highest;
    largest = std::max(largest, all[i]);
  }
  return low > kHighestHighHalf && high <= kHighestHighHalf && highest == 0;
}

/// Whole numbers from 1 to 65535 as 32-bit floats: the upper word, which has
/// sign and exponent, lies in a narrow range that tokens do not keep to.
bool floats_of_tokens(std::span<const std::uint16_t> words) {
  if (words.size() < kLeastTokens * 2) return false;
  std::size_t fitting = 0, zeros = 0;
  for (std::size_t i = 1; i < words.size(); i += 2) {
    fitting += words[i] >= 0x3f80 && words[i] < 0x4780;
    zeros += words[i] == 0;
  }
  return fitting > zeros && 100 * (fitting + zeros) >= 99 * (words.size() / 2);
}

/// Frequent tokens have small numbers, so that the upper byte is 0 or 1 far
/// more often than the lower one: here it is the first that is.
bool big_endian_tokens(std::span<const std::uint16_t> words) {
  if (words.size() < kLeastTokens * 8) return false;
  std::size_t first = 0, second = 0;
  for (const std::uint16_t word : words) {
    first += (word & 0xff) < 2;
    second += word >> 8 < 2;
  }
  return first > words.size() / 8 && first > 4 * second;
}

/// What llm.c's other files say at their front; null: none of them.
const char* other_file_of_llmc(std::int32_t magic) {
  static const std::map<std::int32_t, const char*> kFiles = {
      {20240801, "llm.c's file of Llama 3's tokens, 32 bits each"},
      {20240522, "llm.c's file of an evaluation (HellaSwag, MMLU)"},
      {20240326, "llm.c's checkpoint of a model"},
      {20240327, "llm.c's state for debugging"},
      {20240328, "llm.c's tokenizer"},
      {20240527, "llm.c's state of an optimizer"}};
  const auto found = kFiles.find(magic);
  return found == kFiles.end() ? nullptr : found->second;
}

std::string token_form(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              std::min(bytes.size(), kLookedAt));
  if (const auto format = format_of(text); !format.empty()) {
    return std::string(format);
  }
  std::int32_t magic = 0;
  if (text.size() >= 1024) std::memcpy(&magic, text.data(), sizeof magic);
  if (const char* other = other_file_of_llmc(magic)) return other;
  const std::span words(reinterpret_cast<const std::uint16_t*>(text.data()),
                        text.size() / 2);
  if (tokens_of_words(words, 4)) return "tokens of 64 bits (int64)";
  if (tokens_of_words(words, 2)) return "tokens of 32 bits (int32, uint32)";
  if (floats_of_tokens(words)) return "32-bit floats (float32)";
  if (big_endian_tokens(words)) return "big-endian tokens of 16 bits";
  const bool long_enough = text.size() >= 2 * kLeastTokens;
  return long_enough && reads_as_text(text) ? "a text" : "";
}

}  // namespace

std::string printable(std::string_view name) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  while (!name.empty()) {
    const int length = utf8_length(name.substr(0, 4));
    const auto byte = static_cast<unsigned char>(name.front());
    if (byte == '\n') {
      out += "\\n";
    } else if (byte == '\t') {
      out += "\\t";
    } else if (length == 0 || byte < 32 || byte == 127) {
      out += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    } else {
      out += name.substr(0, static_cast<std::size_t>(length));
    }
    name.remove_prefix(static_cast<std::size_t>(std::max(length, 1)));
  }
  return out;
}

void check_front(const std::filesystem::path& path, std::string_view bytes) {
  const auto format = format_of(bytes);
  require(format.empty(),
          "{}: is {} by the bytes at offset 0; expected text in UTF-8",
          printable(path.string()),
          format);
  const auto encoding = wide_encoding(bytes);
  require(encoding.empty(),
          "{}: is text in {} by the bytes at offset 0; expected UTF-8: convert "
          "it with iconv -f {} -t UTF-8",
          printable(path.string()),
          encoding,
          encoding);
}

TextFindings find_oddities(const std::filesystem::path& path,
                           std::string_view bytes,
                           std::uint64_t offset) {
  const auto zero = bytes.find('\0');
  require(
      zero == std::string_view::npos,
      "{}: zero byte at offset {}; expected text in UTF-8, without zero bytes",
      printable(path.string()),
      offset + zero);
  TextFindings found = find_invalid(bytes);
  found.first_invalid += offset;
  found.byte_order_mark = found.byte_order_mark && offset == 0;
  return found;
}

void check_findings(const std::filesystem::path& path,
                    const TextFindings& found,
                    std::uint64_t size) {
  require(found.invalid * 100 <= size,
          "{}: {} of its {} bytes are not UTF-8, the first at offset {}; "
          "expected at most one in a hundred: convert it with iconv -t UTF-8 "
          "from its encoding, such as -f ISO-8859-1",
          printable(path.string()),
          found.invalid,
          size,
          found.first_invalid);
}

void check_token_form(const std::filesystem::path& path,
                      std::span<const std::byte> bytes) {
  const std::string form = token_form(bytes);
  require(form.empty(),
          "{}: is {}, by its first bytes; expected tokens of 16 bits, "
          "little-endian, as llm.c and nanoGPT write them (NumPy: "
          "tokens.astype('uint16').tofile(FILE))",
          printable(path.string()),
          form);
}

}  // namespace mumoe::data

#include "data/text/packed_texts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/made_once.h"
#include "data/text/byte_stream.h"
#include "data/text/json_lines.h"
#include "data/text/lzw.h"
#include "data/text/r_strings.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

/// A name of a file: letters and digits as they are, small; between them one _.
std::string file_name(std::string_view title) {
  std::string name;
  for (const char c : title) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    const bool keep =
        (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
    if (keep) {
      name += lower;
    } else if (!name.empty() && name.back() != '_') {
      name += '_';
    }
  }
  while (name.ends_with('_')) name.pop_back();
  return name;
}

std::uint32_t big_endian(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = at; i < at + 4 && i < bytes.size(); ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

/// The text of bible-kjv's bible.data: after a title the size of a window, the
/// number of windows and where each begins; each is packed by compress, the
/// first with its header before it.
std::string bible_text(const std::string& bytes, const std::string& path) {
  constexpr std::size_t kWindow = 0x54, kCount = 0x58, kOffsets = 0x5c;
  require(bytes.starts_with("EC02") && bytes.size() > kOffsets,
          "{}: is not in the form of bible-kjv; expected its compressed data",
          path);
  const std::size_t window = big_endian(bytes, kWindow);
  const std::size_t count = big_endian(bytes, kCount);
  require(count > 0 && count < bytes.size() / 4 && window <= 1 << 24,
          "{}: {} windows of {} bytes; expected the form of bible-kjv",
          path,
          count,
          window);
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t begin = big_endian(bytes, kOffsets + 4 * i);
    const std::size_t end = big_endian(bytes, kOffsets + 4 * (i + 1));
    require(begin < end && end <= bytes.size(),
            "{}: window {} lies at {} to {}; expected places in the file",
            path,
            i,
            begin,
            end);
    text += unpack_lzw({bytes.data() + begin, end - begin}, window, path);
  }
  return text;
}

/// The book of a line "1Sm2:3 And ...", as it is called there; empty: no verse.
std::string_view book_of(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || line.find(' ') < colon) return {};
  std::size_t end = colon;
  while (end > 0 && line[end - 1] >= '0' && line[end - 1] <= '9') --end;
  return end < colon ? line.substr(0, end) : std::string_view{};
}

/// A number in the digits of dictd's index, the highest first.
std::optional<std::uint64_t> index_number(std::string_view digits) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::uint64_t value = 0;
  for (const char c : digits) {
    const auto digit = kDigits.find(c);
    if (digit == std::string_view::npos || value >> 58 != 0) return {};
    value = value << 6 | digit;
  }
  return digits.empty() ? std::nullopt : std::optional(value);
}

std::string read_packed(const fs::path& path) {
  ByteStream stream(path);
  std::string bytes;
  for (std::size_t got = 1 << 20; got == 1 << 20;) {
    const std::size_t before = bytes.size();
    bytes.resize(before + (1 << 20));
    got = stream.read(std::span(bytes).subspan(before));
    bytes.resize(before + got);
  }
  return bytes;
}

/// Where the entries of a dictionary are: their lengths, by their offsets.
std::map<std::uint64_t, std::uint64_t> entries_of(const fs::path& index) {
  std::map<std::uint64_t, std::uint64_t> entries;
  for_each_line(
      read_file(index),
      1,
      [&](std::uint64_t number, std::string_view line) {
        const auto first = line.find('\t');
        const auto second = line.rfind('\t');
        std::optional<std::uint64_t> offset, length;
        if (first != second) {
          offset = index_number(line.substr(first + 1, second - first - 1));
          length = index_number(line.substr(second + 1));
        }
        require(offset && length,
                "{} line {}: expected a word, an offset and a length, with "
                "tabs between",
                index.string(),
                number);
        // What describes the dictionary itself is no entry.
        if (!line.starts_with("00-")) entries.emplace(*offset, *length);
      });
  return entries;
}

}  // namespace

void unpack_novels(const fs::path& package, const fs::path& into) {
  const fs::path path = package / "Rdata.rdb";
  const auto values = unpack_r_values(read_file(path), path.string());
  require(values.size() == 6,
          "{}: {} novels; expected 6",
          path.string(),
          values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto lines =
        read_r_strings(values[i],
                       fmt::format("{}, value {}", path.string(), i + 1));
    std::string text;
    for (const std::string& line : lines) text += line + '\n';
    const auto title = lines.empty() ? "" : file_name(lines.front());
    write_file_atomically(into / fmt::format("{}_{}.txt", i + 1, title), text);
  }
}

void unpack_scripture(const fs::path& package, const fs::path& into) {
  constexpr std::size_t kVerses = 31102, kBooks = 66;
  const fs::path path = package / "bible.data";
  const std::string text = bible_text(read_file(path), path.string());
  std::vector<std::pair<std::string, std::string>> books;  // and their verses
  std::size_t verses = 0;
  for_each_line(text, 1, [&](std::uint64_t, std::string_view line) {
    const std::string_view book = book_of(line);
    if (book.empty()) return;
    ++verses;
    if (books.empty() || books.back().first != book) books.push_back({});
    books.back().first = book;
    (books.back().second += line) += '\n';
  });
  require(verses == kVerses && books.size() == kBooks,
          "{}: {} verses in {} books; expected {} in {}",
          path.string(),
          verses,
          books.size(),
          kVerses,
          kBooks);
  for (std::size_t i = 0; i < books.size(); ++i) {
    write_file_atomically(
        into / fmt::format("{:02}_{}.txt", i + 1, file_name(books[i].first)),
        books[i].second);
  }
}

void unpack_dictionary(const fs::path& package, const fs::path& into) {
  // dictzip's form is gzip's, with blocks that can be unpacked by themselves;
  // the name does not say so.
  const fs::path linked = into / "gcide.dict.gz";
  fs::create_symlink(package / "gcide.dict.dz", linked);
  const std::string text = read_packed(linked);
  fs::remove(linked);
  AtomicFile file(into / "entries.jsonl");
  const fs::path index = package / "gcide.index";
  for (const auto& [offset, length] : entries_of(index)) {
    require(offset <= text.size() && length <= text.size() - offset,
            "{}: an entry at {} of {} bytes; expected it within the {} of the "
            "dictionary",
            index.string(),
            offset,
            length,
            text.size());
    const nlohmann::json line = {{"text", text.substr(offset, length)}};
    // A few entries have bytes that are not UTF-8, which JSON cannot hold.
    file.write(
        line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
        '\n');
  }
  file.commit();
}

fs::path unpacked_texts(const std::string& name,
                        const fs::path& package,
                        const fs::path& cache,
                        UnpackTexts unpack) {
  return made_once(cache,
                   name + "-texts",
                   "unpacks " + name,
                   [&](const fs::path& into) { unpack(package, into); });
}

}  // namespace mumoe::data

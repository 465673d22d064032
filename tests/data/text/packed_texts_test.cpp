#include "data/text/packed_texts.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "base/file.h"
#include "data/text/lzw.h"
#include "data/text/r_strings.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using namespace std::string_literals;
using testing::expect_input_error;
using testing::ScratchFolder;

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes += static_cast<char>(value >> shift);
  }
  return bytes;
}

/// A character vector as R 3.5 and later serialise it.
std::string r_vector(const std::vector<std::string>& strings) {
  std::string bytes = "X\n" + big_endian(3) + big_endian(0x00040201) +
                      big_endian(0x00030500) + big_endian(5) + "UTF-8" +
                      big_endian(16) +
                      big_endian(static_cast<std::uint32_t>(strings.size()));
  for (const std::string& text : strings) {
    bytes += big_endian(0x00040009) +
             big_endian(static_cast<std::uint32_t>(text.size())) + text;
  }
  return bytes;
}

std::string r_value(const std::string& bytes) {
  uLongf size = compressBound(bytes.size());
  std::string packed(size, '\0');
  EXPECT_EQ(compress(reinterpret_cast<Bytef*>(packed.data()),
                     &size,
                     reinterpret_cast<const Bytef*>(bytes.data()),
                     bytes.size()),
            Z_OK);
  packed.resize(size);
  return big_endian(static_cast<std::uint32_t>(bytes.size())) + packed;
}

TEST(RStrings, ComeBack) {
  const std::vector<std::string> lines = {"EMMA", "", "caf\xc3\xa9"};
  EXPECT_EQ(read_r_strings(r_vector(lines), "x"), lines);
  const auto values =
      unpack_r_values(r_value(r_vector(lines)) + r_value("second"), "x");
  EXPECT_EQ(values, (std::vector<std::string>{r_vector(lines), "second"}));
}

TEST(RStrings, DamageIsPlaced) {
  const std::string whole = r_vector({"one", "two"});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    expect_input_error([&] { read_r_strings(whole.substr(0, size), "f.rdb"); },
                       {"f.rdb: ", " at byte ", "expected"});
  }
  std::string damaged = whole;
  damaged[26] = 13;  // a vector of integers
  expect_input_error([&] { read_r_strings(damaged, "f.rdb"); },
                     {"holds another value"});
  const std::string packed = r_value(whole);
  expect_input_error([&] { unpack_r_values(packed.substr(0, 30), "f.rdb"); },
                     {"f.rdb: the value at byte 0 does not unpack"});
  expect_input_error([&] { unpack_r_values(packed + "ab", "f.rdb"); },
                     {"no value at byte " + std::to_string(packed.size())});
}

/// Codes of nine bits, the lowest bit first.
std::string nine_bits(const std::vector<unsigned>& codes) {
  std::string bytes;
  unsigned held = 0, bits = 0;
  for (const unsigned code : codes) {
    held |= code << bits;
    for (bits += 9; bits >= 8; bits -= 8, held >>= 8) {
      bytes += static_cast<char>(held & 255);
    }
  }
  return bytes + static_cast<char>(held);
}

TEST(Lzw, UnpacksCodesOfStringsAndOfTheOneInTheMaking) {
  // ab (257), ba (258), aba by 257 and its own first byte (259).
  EXPECT_EQ(unpack_lzw(nine_bits({'a', 'b', 257, 259, 256, 'x'}), 100, "f"),
            "abababa");
  EXPECT_EQ(unpack_lzw(nine_bits({'a', 'b', 257, 'c'}), 3, "f"), "aba");
  expect_input_error(
      [] {
        unpack_lzw(nine_bits({'a', 300}), 100, "f");
      },
      {"f: code 300 at bit 9", "expected"});
  expect_input_error([] { unpack_lzw(nine_bits({257}), 100, "f"); },
                     {"code 257 at bit 0"});
}

TEST(PackedTexts, NovelsAreFilesByTheirTitles) {
  const ScratchFolder folder;
  std::string values;
  for (const char* title :
       {"EMMA", "B", "C", "D", "E", "PRIDE AND PREJUDICE"}) {
    values += r_value(r_vector({title, "", "Text."}));
  }
  folder.write("in/Rdata.rdb", values);
  std::filesystem::create_directories(folder.path() / "out");
  unpack_novels(folder.path() / "in", folder.path() / "out");
  EXPECT_EQ(read_file(folder.path() / "out/1_emma.txt"), "EMMA\n\nText.\n");
  EXPECT_TRUE(
      std::filesystem::exists(folder.path() / "out/6_pride_and_prejudice.txt"));
  folder.write("in/Rdata.rdb", r_value(r_vector({"EMMA"})));
  expect_input_error(
      [&] { unpack_novels(folder.path() / "in", folder.path() / "out"); },
      {"Rdata.rdb", "1 novels"});
}

TEST(PackedTexts, EntriesOfADictionaryAreLines) {
  const ScratchFolder folder;
  const auto path = folder.path() / "in/gcide.dict.dz";
  std::filesystem::create_directories(folder.path() / "in");
  std::filesystem::create_directories(folder.path() / "out");
  gzFile file = gzopen(path.c_str(), "wb");
  const std::string text = "about\nzebra, a beast\nape \xff\n";
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  // Two words of one entry; what is of the dictionary itself.
  folder.write("in/gcide.index",
               "00-database-url\tA\tG\nape\tV\tG\nbeast\tG\tP\nzebra\tG\tP\n");
  unpack_dictionary(folder.path() / "in", folder.path() / "out");
  EXPECT_EQ(read_file(folder.path() / "out/entries.jsonl"),
            "{\"text\":\"zebra, a beast\\n\"}\n"
            "{\"text\":\"ape \xef\xbf\xbd\\n\"}\n");
  folder.write("in/gcide.index", "ape\tV\tGG\n");
  std::filesystem::remove(folder.path() / "out/gcide.dict.gz");
  expect_input_error(
      [&] { unpack_dictionary(folder.path() / "in", folder.path() / "out"); },
      {"gcide.index", "an entry at 21 of 390 bytes"});
  folder.write("in/gcide.index", "ape\tV\n");
  expect_input_error(
      [&] { unpack_dictionary(folder.path() / "in", folder.path() / "out"); },
      {"gcide.index line 1", "expected a word"});
}

TEST(PackedTexts, ABookThatIsNoneIsRefused) {
  const ScratchFolder folder;
  folder.write("bible.data", "EC02Compressed" + std::string(200, '\0'));
  expect_input_error([&] { unpack_scripture(folder.path(), folder.path()); },
                     {"bible.data", "0 windows"});
  folder.write("bible.data", "plain");
  expect_input_error([&] { unpack_scripture(folder.path(), folder.path()); },
                     {"bible.data", "not in the form of bible-kjv"});
}

}  // namespace
}  // namespace mumoe::data

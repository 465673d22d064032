#include "data/images/emoji.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "data/images/font.h"
#include "data/images/idx.h"
#include "data/images/ligatures.h"
#include "data/images/resample.h"
#include "data/workers.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

constexpr char32_t kJoiner = 0x200D, kPresentation = 0xFE0F;
constexpr char32_t kFemale = 0x2640, kMale = 0x2642;
constexpr char32_t kMan = 0x1F468, kWoman = 0x1F469, kPerson = 0x1F9D1;
constexpr char32_t kFirstTone = 0x1F3FB;
constexpr char32_t kFirstHair = 0x1F9B0, kLastHair = 0x1F9B3;

struct Trait {
  const char* name;
  char32_t character;
};
constexpr std::array<Trait, 5> kTraits = {{
    {"Light_Skin", kFirstTone},
    {"Medium_Light_Skin", kFirstTone + 1},
    {"Medium_Skin", kFirstTone + 2},
    {"Medium_Dark_Skin", kFirstTone + 3},
    {"Dark_Skin", kFirstTone + 4},
}};

bool has_word(std::string_view name, std::string_view word) {
  const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
  for (auto at = name.find(word); at != name.npos;
       at = name.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || !letter(name[at - 1])) &&
        (end == name.size() || !letter(name[end]))) {
      return true;
    }
  }
  return false;
}

bool has_any_word(const std::string& name,
                  std::initializer_list<std::string_view> words) {
  return std::ranges::any_of(words,
                             [&](auto word) { return has_word(name, word); });
}

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \r");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \r") - begin + 1);
}

/// "1F468 200D 1F467"; nothing where it is no such row.
std::optional<std::u32string> characters_of(std::string_view text) {
  std::u32string characters;
  for (text = trim(text); !text.empty(); text = trim(text)) {
    std::uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc()) return {};
    characters += static_cast<char32_t>(value);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  }
  return characters.empty() ? std::nullopt : std::optional(characters);
}

/// A line "CHARACTERS ; fully-qualified # PICTURE E1.0 NAME"; nothing where it
/// is another qualification.
std::optional<Emoji> emoji_of(std::string_view line, const std::string& where) {
  const auto semicolon = line.find(';');
  const auto hash = line.find('#', std::min(semicolon, line.size()));
  std::optional<std::u32string> characters;
  std::string_view name;
  if (hash != line.npos) {
    characters = characters_of(line.substr(0, semicolon));
    // After the picture and the version.
    name = trim(line.substr(hash + 1));
    for (int i = 0; i < 2; ++i) {
      name = trim(name.substr(std::min(name.find(' '), name.size())));
    }
  }
  require(
      characters && !name.empty(),
      "{}: expected characters in hexadecimal, a semicolon, a status, # and "
      "a name",
      where);
  if (trim(line.substr(semicolon + 1, hash - semicolon - 1)) !=
      "fully-qualified") {
    return {};
  }
  return Emoji{*characters, std::string(name), ""};
}

/// The number of the glyph for an emoji; 0: the font has none.
std::uint32_t glyph_of(const Emoji& emoji,
                       const Font& font,
                       const Ligatures& ligatures) {
  std::vector<std::uint32_t> row;
  for (const char32_t c : emoji.characters) {
    if (c == kPresentation) continue;
    row.push_back(font.glyph(c));
    if (row.back() == 0) return 0;
  }
  if (row.size() == 1) return row[0];
  const auto found = ligatures.find(row);
  return found == ligatures.end() ? 0 : found->second;
}

/// [side, side, 3] of a bitmap in the middle of a white square.
void draw(const GlyphBitmap& bitmap, std::uint8_t* to) {
  const int side = std::max(bitmap.width, bitmap.height);
  Decoded square;
  square.pixels = Pixels(side, side);
  std::memset(square.pixels.data(), 255, square.pixels.size());
  const int left = (side - bitmap.width) / 2;
  const int top = (side - bitmap.height) / 2;
  const std::uint8_t* from = bitmap.rgba.data();
  for (int y = 0; y < bitmap.height; ++y) {
    std::uint8_t* pixel = square.pixels.row(top + y) + left * Pixels::kBytes;
    for (int x = 0; x < bitmap.width; ++x, from += 4, pixel += Pixels::kBytes) {
      for (int c = 0; c < 3; ++c) {
        // Colours are at most the opacity, which they were multiplied by.
        pixel[c] =
            static_cast<std::uint8_t>(std::min(255, from[c] + 255 - from[3]));
      }
    }
  }
  const auto whole = static_cast<double>(side);
  const Pixels small = resample(square,
                                {.box_width = whole,
                                 .box_height = whole,
                                 .width = kEmojiSide,
                                 .height = kEmojiSide,
                                 .size = kEmojiSide});
  for (int i = 0; i < kEmojiSide * kEmojiSide; ++i, to += 3) {
    std::copy_n(small.data() + i * Pixels::kBytes, 3, to);
  }
}

struct Drawn {
  const Emoji* emoji;
  std::uint32_t glyph;
};

void write_part(const std::vector<Drawn>& all,
                const std::vector<std::string>& groups,
                const std::string& part,
                const fs::path& font,
                const fs::path& into,
                Workers& workers) {
  constexpr std::size_t kBytes = std::size_t{3} * kEmojiSide * kEmojiSide;
  constexpr std::size_t kPiece = 64;
  const auto count = std::ssize(all);
  IdxArray pixels{{count, kEmojiSide, kEmojiSide, 3}, {}};
  pixels.bytes.resize(all.size() * kBytes);
  workers.for_each((all.size() + kPiece - 1) / kPiece, [&](std::size_t piece) {
    const Font own(font);
    const std::size_t end = std::min((piece + 1) * kPiece, all.size());
    for (std::size_t i = piece * kPiece; i < end; ++i) {
      draw(own.bitmap(all[i].glyph), pixels.bytes.data() + i * kBytes);
    }
  });
  IdxArray labels{{count}, {}};
  IdxArray attributes{{count, std::ssize(emoji_attribute_names())}, {}};
  for (const Drawn& drawn : all) {
    labels.bytes.push_back(static_cast<std::uint8_t>(
        std::ranges::find(groups, drawn.emoji->group) - groups.begin()));
    const auto row = attributes_of(*drawn.emoji);
    attributes.bytes.insert(attributes.bytes.end(), row.begin(), row.end());
  }
  write_idx(into / (part + "-images-idx4-ubyte"), pixels);
  write_idx(into / (part + "-labels-idx1-ubyte"), labels);
  write_idx(into / (part + "-attributes-idx2-ubyte"), attributes);
}

}  // namespace

std::vector<Emoji> read_emoji(std::string_view text, const fs::path& path) {
  constexpr std::string_view kGroup = "# group:";
  std::vector<Emoji> all;
  std::string group;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trim(text.substr(begin, end - begin));
    begin = end + 1;
    ++number;
    if (line.starts_with(kGroup)) group = trim(line.substr(kGroup.size()));
    if (line.empty() || line.starts_with('#')) continue;
    auto emoji =
        emoji_of(line, fmt::format("{} line {}", path.string(), number));
    if (!emoji) continue;
    emoji->group = group;
    all.push_back(std::move(*emoji));
  }
  return all;
}

std::vector<std::string> emoji_attribute_names() {
  std::vector<std::string> names{"Male", "Female"};
  for (const Trait& trait : kTraits) names.emplace_back(trait.name);
  return names;
}

std::vector<std::uint8_t> attributes_of(const Emoji& emoji) {
  const std::string& name = emoji.name;
  std::vector<std::uint8_t> row{
      has_any_word(name, {"man", "men", "boy", "boys", "prince", "father"}),
      has_any_word(name,
                   {"woman", "women", "girl", "girls", "princess", "mother"})};
  for (const Trait& trait : kTraits) {
    row.push_back(emoji.characters.find(trait.character) !=
                  std::u32string::npos);
  }
  return row;
}

bool emoji_is_for_validation(const Emoji& emoji) {
  std::string base;
  for (const char32_t c : emoji.characters) {
    const bool trait =
        std::ranges::find(kTraits, c, &Trait::character) != kTraits.end();
    const bool hair = c >= kFirstHair && c <= kLastHair;
    if (trait || hair || c == kPresentation || c == kFemale || c == kMale ||
        c == kJoiner) {
      continue;
    }
    base += fmt::format(
        "{:X} ",
        static_cast<std::uint32_t>(c == kMan || c == kWoman ? kPerson : c));
  }
  return hash_name(base) % 5 == 0;
}

void write_emoji(const fs::path& font,
                 const fs::path& list,
                 const fs::path& into,
                 int threads) {
  const Font face(font);
  const Ligatures ligatures = read_ligatures(face.table("GSUB"), font.string());
  const std::vector<Emoji> all = read_emoji(read_file(list), list);
  std::vector<Drawn> train, val;
  std::vector<std::string> groups;
  std::string names;
  for (const Emoji& emoji : all) {
    const std::uint32_t glyph = glyph_of(emoji, face, ligatures);
    if (glyph == 0) continue;
    if (std::ranges::find(groups, emoji.group) == groups.end()) {
      groups.push_back(emoji.group);
    }
    const bool held = emoji_is_for_validation(emoji);
    (held ? val : train).push_back({&emoji, glyph});
    names += fmt::format("{}\t{}\t{}\n",
                         held ? "val" : "train",
                         emoji.group,
                         emoji.name);
  }
  require(
      !train.empty() && !val.empty(),
      "{}: {} emoji of {} for training and {} for validation; expected some "
      "of both",
      font.string(),
      train.size(),
      list.filename().string(),
      val.size());
  Workers workers(threads);
  write_part(train, groups, "train", font, into, workers);
  write_part(val, groups, "val", font, into, workers);
  write_names(into / kClassNames, groups);
  write_names(into / kAttributeNames, emoji_attribute_names());
  write_file_atomically(into / "names.txt", names);
}

}  // namespace mumoe::data

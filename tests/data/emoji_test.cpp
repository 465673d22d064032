#include "data/images/emoji.h"

#include <set>

#include "data/attributes.h"
#include "data/images/image_data.h"
#include "data/images/ligatures.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

constexpr char kText[] =
    "# emoji-test.txt\n"
    "\n"
    "# group: Smileys & Emotion\n"
    "# subgroup: face-smiling\n"
    "1F600            ; fully-qualified     # X E1.0 grinning face\n"
    "263A FE0F        ; fully-qualified     # X E0.6 smiling face\n"
    "263A             ; unqualified         # X E0.6 smiling face\n"
    "# group: People & Body\n"
    "1F469 1F3FF 200D 1F9B0 ; fully-qualified # X E11.0 woman: dark skin tone, "
    "red hair\n"
    "1F468            ; fully-qualified     # X E0.6 man\n"
    "1F469 200D 2764 FE0F 200D 1F468 ; fully-qualified # X E2.0 couple with "
    "heart: woman, man\n"
    "# group: Component\n"
    "1F3FB            ; component           # X E1.0 light skin tone\n";

TEST(EmojiList, FullyQualifiedOnesOfEachGroup) {
  const auto all = read_emoji(kText, "list");
  ASSERT_EQ(all.size(), 5u);
  EXPECT_EQ(all[1].characters, (std::u32string{0x263A, 0xFE0F}));
  EXPECT_EQ(all[1].name, "smiling face");
  EXPECT_EQ(all[1].group, "Smileys & Emotion");
  EXPECT_EQ(all[2].name, "woman: dark skin tone, red hair");
  EXPECT_EQ(all[2].group, "People & Body");
}

TEST(EmojiList, WhatIsTrueOfThem) {
  const auto all = read_emoji(kText, "list");
  const auto names = emoji_attribute_names();
  const auto said = [&](const Emoji& emoji) {
    std::set<std::string> true_ones;
    const auto row = attributes_of(emoji);
    EXPECT_EQ(row.size(), names.size());
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (row[i] == 1) true_ones.insert(names[i]);
    }
    return true_ones;
  };
  using Names = std::set<std::string>;
  EXPECT_EQ(said(all[0]), Names{});
  EXPECT_EQ(said(all[2]), (Names{"Female", "Dark_Skin"}));
  EXPECT_EQ(said(all[3]), Names{"Male"});
  EXPECT_EQ(said(all[4]), (Names{"Male", "Female"}));
}

TEST(EmojiList, FormsOfOneEmojiAreOnOneSide) {
  const auto side = [](std::u32string characters) {
    return emoji_is_for_validation({std::move(characters), "", ""});
  };
  int val = 0;
  for (char32_t c = 0x1F680; c < 0x1F6C0; ++c) {
    const bool plain = side({c});
    val += plain;
    EXPECT_EQ(side({c, 0x1F3FC}), plain);
    EXPECT_EQ(side({c, 0x1F3FC, 0x200D, 0x2640, 0xFE0F}), plain);
    EXPECT_EQ(side({0x1F468, 0x200D, c}), side({0x1F469, 0x1F3FF, 0x200D, c}));
    EXPECT_EQ(side({0x1F468, 0x200D, c}), side({0x1F9D1, 0x200D, c}));
  }
  EXPECT_GT(val, 4);
  EXPECT_LT(val, 24);
}

TEST(EmojiList, ALineOfAnotherFormIsNamed) {
  for (const char* line : {"1F600 fully-qualified",
                           "xyz ; fully-qualified # X E1.0 face",
                           "1F600 ; fully-qualified # X E1.0",
                           " ; fully-qualified # X E1.0 face"}) {
    expect_input_error(
        [&] { read_emoji(std::string("# a\n") + line + "\n", "list.txt"); },
        {"list.txt line 2", "hexadecimal"});
  }
}

/// Numbers of 16 bits, the high byte first.
std::string two(std::initializer_list<int> numbers) {
  std::string bytes;
  for (const int n : numbers) {
    bytes += static_cast<char>(n >> 8 & 255);
    bytes += static_cast<char>(n & 255);
  }
  return bytes;
}

TEST(Ligatures, OfBothFormsOfCoverageAndInExtensions) {
  // The set of glyph 3, which a list covers: 3 4 -> 50, 3 4 5 -> 51.
  const std::string list =
      two({1, 28, 1, 8, 2, 6, 12, 50, 2, 4, 51, 3, 4, 5, 1, 1, 3});
  // The sets of 7 and 8, which a range covers: 7 9 -> 60, 8 9 -> 61.
  const std::string range =
      two({1, 30, 2, 10, 20, 1, 4, 60, 2, 9, 1, 4, 61, 2, 9, 2, 1, 7, 8, 0});
  const std::string table =
      two({1, 0, 0, 0, 10}) + two({3, 8, 50, 106}) + two({4, 0, 1, 8}) + list +
      two({7, 0, 1, 8, 1, 4, 0, 8}) + range + two({1, 0, 0});  // another kind
  EXPECT_EQ(
      read_ligatures(table, "font"),
      (Ligatures{{{3, 4}, 50}, {{3, 4, 5}, 51}, {{7, 9}, 60}, {{8, 9}, 61}}));
  EXPECT_TRUE(read_ligatures("", "font").empty());
  // Cut anywhere, it is damaged.
  for (std::size_t size = 1; size < table.size(); ++size) {
    const std::string_view part(table.data(), size);
    expect_input_error([&] { read_ligatures(part, "f.ttf"); },
                       {"f.ttf", "GSUB is damaged"});
  }
}

TEST(Emoji, AreDrawnWithTheirGroupsAndAttributes) {
  ImageOptions options;
  options.source = "emoji";
  options.threads = 2;
  const ImageData data = open_images(options);
  EXPECT_EQ(data.classes, 9);
  EXPECT_EQ(data.class_names[0], "Smileys & Emotion");
  EXPECT_EQ(data.channels, 3);
  EXPECT_EQ(data.size, 64);
  EXPECT_EQ(data.train->size() + data.val->size(), 3655u);
  EXPECT_GT(data.val->size(), 400u);
  const Attributes* attributes = data.train->attributes();
  ASSERT_NE(attributes, nullptr);
  EXPECT_EQ(attributes->images(), data.train->size());
  const auto female = attributes->find("Female", "test");
  std::size_t count = 0;
  for (std::size_t i = 0; i < attributes->images(); ++i) {
    count += attributes->at(i, female);
  }
  EXPECT_GT(count, 400u);
}

}  // namespace
}  // namespace mumoe::data

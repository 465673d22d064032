#include "data/images/glyphs.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>
#include <sstream>

#include "base/file.h"
#include "data/fetch.h"
#include "data/images/font.h"
#include "data/images/idx.h"
#include "data/images/image_data.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

namespace fs = std::filesystem;

/// Where the packages' fonts lie; fetched once.
const fs::path& fonts() {
  static const fs::path folder = fetch(find_package("fonts"), cache_folder());
  return folder;
}

Font dejavu() {
  return Font(fonts() / "truetype/dejavu/DejaVuSans.ttf");
}

TEST(Font, CoverageIsThatOfTheOutline) {
  const Font font = dejavu();
  EXPECT_EQ(font.family(), "DejaVu Sans");
  EXPECT_EQ(font.style(), "Book");
  EXPECT_TRUE(font.scalable());
  EXPECT_EQ(font.glyph(0xE000), 0u);
  // The letter l is a bar: its box is what it covers.
  const auto bar = font.glyph('l');
  const GlyphBox box = font.box(bar);
  const double scale = 20 / box.height();
  const GlyphPlace place{scale, 5.25 - scale * box.left, 4.5};
  const auto pixels = font.draw(bar, place, 28);
  const double area = std::accumulate(pixels.begin(), pixels.end(), 0.0) / 255;
  EXPECT_NEAR(area, scale * box.width() * 20, 0.1);
  // Row 0 is the top: 28 - 4.5 - 20 = 3.5 pixels are free there.
  const auto row = [&](int y) {
    return std::accumulate(pixels.begin() + y * 28,
                           pixels.begin() + (y + 1) * 28,
                           0);
  };
  EXPECT_EQ(row(2), 0);
  EXPECT_NEAR(row(3), row(10) / 2.0, 2);
  EXPECT_NEAR(row(23), row(10) / 2.0, 2);
  EXPECT_EQ(row(24), 0);
  EXPECT_EQ(pixels[10 * 28 + 4], 0);
  EXPECT_NEAR(pixels[10 * 28 + 5], 0.75 * 255, 4);
  EXPECT_TRUE(font.same_outline(bar, bar));
  EXPECT_FALSE(font.same_outline(bar, font.glyph('I')));
}

TEST(Font, WhatIsNoFontIsNamed) {
  const ScratchFolder folder;
  const fs::path text = folder.write("a.ttf", "no font");
  expect_input_error([&] { Font{text}; }, {text.string(), "font file"});
  const Font font = dejavu();
  expect_input_error([&] { font.bitmap(font.glyph('a')); },
                     {"DejaVuSans.ttf", "no bitmaps"});
}

TEST(Glyphs, AFamilyIsOnOneSide) {
  EXPECT_EQ(family_is_for_validation("PT Sans"),
            family_is_for_validation("pt Serif"));
  EXPECT_EQ(family_is_for_validation("Oxygen-Sans"),
            family_is_for_validation("Oxygen Mono"));
  // Behaviour that is stored: a change gives every data set another split.
  EXPECT_TRUE(family_is_for_validation("Linux Libertine O"));
  EXPECT_FALSE(family_is_for_validation("DejaVu Sans"));
}

/// Two families for training, of which one has no small letters, and one for
/// validation, whose regular style is there twice.
void copy_fonts(const fs::path& to) {
  const auto copy = [&](const char* from, const char* name) {
    fs::create_directories((to / name).parent_path());
    fs::copy_file(fonts() / from, to / name);
  };
  copy("truetype/dejavu/DejaVuSans.ttf", "b/sans.ttf");
  copy("truetype/dejavu/DejaVuSans-Bold.ttf", "b/bold.ttf");
  copy("fonts-go/Go-Smallcaps.ttf", "small.ttf");
  const char* libertine = "opentype/linux-libertine/LinLibertine_R.otf";
  copy(libertine, "a.otf");
  copy(libertine, "again.OTF");
  fs::create_symlink("a.otf", to / "link.otf");
}

TEST(Glyphs, EachCharacterOfEachFontIsDrawnTwice) {
  const ScratchFolder folder;
  copy_fonts(folder.path() / "fonts");
  folder.write("fonts/read.me", "no font");
  const fs::path to = folder.path() / "to";
  fs::create_directories(to);
  write_glyphs(folder.path() / "fonts", to, 1);
  EXPECT_EQ(read_file(to / "fonts.txt"),
            "val\tLinux Libertine O\tRegular\ta.otf\n"
            "train\tDejaVu Sans\tBold\tb/bold.ttf\n"
            "train\tDejaVu Sans\tBook\tb/sans.ttf\n");
  ImageOptions options;
  options.source = to.string();
  options.augment = Augmentation::none;
  const ImageData data = open_images(options);
  EXPECT_EQ(data.train->size(), 2u * 62 * 2);
  EXPECT_EQ(data.val->size(), 1u * 62 * 2);
  EXPECT_EQ(data.classes, 62);
  EXPECT_EQ(data.class_names, glyph_classes());
  EXPECT_EQ(data.class_names[0] + data.class_names[26] + data.class_names[61],
            "Aa9");
  EXPECT_EQ(image_shape(options.source).classes, 62);
  EXPECT_EQ(image_shape(options.source).size, 28);
}

TEST(Glyphs, LookDifferentAndWhole) {
  const ScratchFolder folder;
  copy_fonts(folder.path() / "fonts");
  write_glyphs(folder.path() / "fonts", folder.path(), 2);
  const IdxImages images =
      read_idx_images(find_idx_pair(folder.path(), {"train"}), 62);
  std::set<std::vector<std::uint8_t>> looks;
  std::array<int, 62> least{}, count{};
  least.fill(28);
  for (std::int64_t i = 0; i < images.count; ++i) {
    const auto* from = images.pixels.data() + i * 28 * 28;
    looks.emplace(from, from + 28 * 28);
    int bottom = 0, top = 27;
    for (int p = 0; p < 28 * 28; ++p) {
      if (from[p] < 128) continue;
      // Nothing is cut off.
      EXPECT_TRUE(p % 28 > 0 && p % 28 < 27 && p / 28 > 0 && p / 28 < 27);
      bottom = std::max(bottom, p / 28);
      top = std::min(top, p / 28);
    }
    const auto label = images.labels[static_cast<std::size_t>(i)];
    least[label] = std::min(least[label], bottom - top + 1);
    ++count[label];
  }
  EXPECT_EQ(looks.size(), static_cast<std::size_t>(images.count));
  EXPECT_EQ(std::ranges::min(count), 4);
  EXPECT_EQ(std::ranges::max(count), 4);
  // A capital is a capital by its size.
  EXPECT_GE(least[static_cast<std::size_t>('O' - 'A')], 13);
  EXPECT_LE(least[static_cast<std::size_t>('o' - 'a' + 26)], 12);
}

TEST(Glyphs, AreTheSameBytesForAnyNumberOfThreads) {
  const ScratchFolder folder;
  copy_fonts(folder.path() / "fonts");
  std::map<std::string, std::string> first;
  for (const int threads : {1, 3}) {
    const fs::path to = folder.path() / std::to_string(threads);
    fs::create_directories(to);
    write_glyphs(folder.path() / "fonts", to, threads);
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(to)) {
      files[entry.path().filename()] = sha256_of(entry.path());
    }
    EXPECT_EQ(files.size(), 6u);
    if (first.empty()) first = files;
    EXPECT_EQ(files, first);
  }
}

TEST(Glyphs, FontsOfOneSideAloneAreRefused) {
  const ScratchFolder folder;
  fs::create_directories(folder.path() / "fonts");
  fs::copy_file(fonts() / "truetype/dejavu/DejaVuSans.ttf",
                folder.path() / "fonts" / "a.ttf");
  expect_input_error(
      [&] { write_glyphs(folder.path() / "fonts", folder.path(), 1); },
      {"fonts", "1 fonts for training and 0 for validation"});
  expect_input_error(
      [&] { write_glyphs(folder.path() / "none", folder.path(), 1); },
      {"none", "cannot list"});
  folder.write("fonts/b.ttf", "no font");
  expect_input_error(
      [&] { write_glyphs(folder.path() / "fonts", folder.path(), 1); },
      {"b.ttf", "font file"});
}

TEST(Glyphs, OfDebiansFontsAreManyFamiliesOnTwoSides) {
  ImageOptions options;
  options.source = "glyphs";
  options.threads = 2;
  const ImageData data = open_images(options);
  EXPECT_EQ(data.classes, 62);
  EXPECT_EQ(data.size, 28);
  EXPECT_EQ(data.train->size(), 25420u);
  EXPECT_EQ(data.val->size(), 8680u);
  // The same bytes everywhere: FreeType's arithmetic is of whole numbers. Where
  // they change, the folder gets another name (named_images.cpp).
  EXPECT_EQ(data.train_hash, "466d04d6d2a28879");
  EXPECT_EQ(data.val_hash, "7a3e84ce8ac7e3c8");
  EXPECT_TRUE(data.notes.empty());
  // What automatic means: no mirror, so index i + size is the same picture.
  const auto all = data.train->size();
  const auto look = [&](std::uint64_t i) {
    return std::get<std::vector<float>>(
        data.train->make(std::vector<std::uint64_t>{i}).input);
  };
  EXPECT_EQ(look(5), look(5 + all));
  std::map<std::string, std::set<std::string>> sides;
  std::size_t count = 0;
  std::istringstream list(
      read_file(cache_folder() / "data" / "glyphs-1" / "fonts.txt"));
  for (std::string line; std::getline(list, line); ++count) {
    const auto first = line.find('\t'), second = line.find('\t', first + 1);
    sides[line.substr(first + 1, second - first - 1)].insert(
        line.substr(0, first));
  }
  EXPECT_EQ(count, 275u);
  EXPECT_GE(sides.size(), 60u);
  for (const auto& [family, of] : sides) EXPECT_EQ(of.size(), 1u) << family;
}

}  // namespace
}  // namespace mumoe::data

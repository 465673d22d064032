#include <png.h>

#include "base/file.h"
#include "base/random.h"
#include "data/images/decode.h"
#include "data/images/idx.h"
#include "tests/data/pictures.h"
#include "tests/support/errors.h"
#include "tests/support/source_folder.h"

namespace mumoe::data {
namespace {

using mumoe::testing::expect_input_error;
using testing::jpeg_of;
using testing::JpegForm;
using testing::mean_difference;
using testing::png_of;
using testing::rgb_of;
using testing::smooth;

Decoded decode(std::string_view bytes, const Region& part, int least = 10000) {
  return ImageFile("some.jpg", bytes).decode(part, least);
}

std::vector<std::uint8_t> whole(std::string_view bytes) {
  ImageFile file("some.jpg", bytes);
  return rgb_of(file.decode({0, 0, file.width(), file.height()}, 10000).pixels);
}

/// The part `region` of a picture of which `decoded` is a part at least.
std::vector<std::uint8_t> cut(const Decoded& decoded, const Region& region) {
  std::vector<std::uint8_t> values;
  for (int y = 0; y < region.height; ++y) {
    const std::uint8_t* row = decoded.pixels.row(y + region.top - decoded.top) +
                              Pixels::kBytes * (region.left - decoded.left);
    for (int i = 0; i < region.width * Pixels::kBytes; ++i) {
      if (i % Pixels::kBytes != 3) values.push_back(row[i]);
    }
  }
  return values;
}

void expect_parts_as_of_the_whole(const std::string& bytes,
                                  int width,
                                  int height) {
  const Decoded all = decode(bytes, {0, 0, width, height});
  ASSERT_EQ(all.pixels.width(), width);
  const CounterRandom random(1, Purpose::test);
  for (std::uint64_t i = 0; i < 60; ++i) {
    const auto draw = [&](std::uint64_t n, int bound) {
      return static_cast<int>(
          random.below(4 * i + n, static_cast<std::uint64_t>(bound)));
    };
    Region part{draw(0, width), draw(1, height), 0, 0};
    part.width = 1 + draw(2, width - part.left);
    part.height = 1 + draw(3, height - part.top);
    const Decoded some = decode(bytes, part);
    EXPECT_LE(some.pixels.height(), part.height);
    ASSERT_EQ(cut(some, part), cut(all, part))
        << part.left << " " << part.top << " " << part.width << " "
        << part.height;
  }
}

TEST(Jpeg, PartsHaveThePixelsOfTheWhole) {
  const int width = 149;
  const int height = 101;
  for (const bool halved : {true, false}) {
    for (const bool progressive : {true, false}) {
      JpegForm form;
      form.halved = halved;
      form.progressive = progressive;
      expect_parts_as_of_the_whole(
          jpeg_of(width, height, smooth(width, height), form),
          width,
          height);
    }
  }
  JpegForm grey;
  grey.components = 1;
  expect_parts_as_of_the_whole(
      jpeg_of(width, height, smooth(width, height, 1), grey),
      width,
      height);
}

TEST(Jpeg, LargeOnesShrinkWhileDecoded) {
  const auto bytes = jpeg_of(800, 640, smooth(800, 640));
  struct Case {
    int least, shrink;
  };
  for (const auto& [least, shrink] :
       {Case{321, 1}, {320, 2}, {161, 2}, {160, 4}, {80, 8}, {1, 8}}) {
    const Region part{80, 0, 640, 640};
    const Decoded some = decode(bytes, part, least);
    ASSERT_EQ(some.shrink, shrink) << least;
    const auto values = cut(some, {80 / shrink, 0, 640 / shrink, 640 / shrink});
    // What the middle of each block of the source is like.
    const auto source = smooth(800, 640);
    std::vector<std::uint8_t> expected;
    for (int y = shrink / 2; y < 640; y += shrink) {
      for (int x = 80 + shrink / 2; x < 720; x += shrink) {
        for (int c = 0; c < 3; ++c) {
          expected.push_back(source[(y * 800 + x) * 3 + c]);
        }
      }
    }
    EXPECT_LE(mean_difference(values, expected), 2.0) << shrink;
  }
}

TEST(Jpeg, GreyAndInksBecomeRedGreenAndBlue) {
  JpegForm form;
  form.components = 1;
  for (const auto v :
       whole(jpeg_of(9, 7, std::vector<std::uint8_t>(63, 77), form))) {
    EXPECT_EQ(v, 77);
  }
  form.components = 4;
  for (const bool ycck : {false, true}) {
    for (const bool adobe : {false, true}) {
      if (ycck && !adobe) continue;  // it is the marker that says YCCK
      // 20 % cyan, no magenta, 60 % yellow, 10 % black, as stored.
      std::vector<std::uint8_t> inks;
      for (int i = 0; i < 64; ++i) {
        for (const int part : {51, 0, 153, 26}) {
          inks.push_back(static_cast<std::uint8_t>(adobe ? 255 - part : part));
        }
      }
      form.ycck = ycck;
      form.adobe = adobe;
      const auto values = whole(jpeg_of(8, 8, inks, form));
      EXPECT_NEAR(values[0], 204 * 229 / 255, 3) << ycck << adobe;
      EXPECT_NEAR(values[1], 229, 3) << ycck << adobe;
      EXPECT_NEAR(values[2], 102 * 229 / 255, 3) << ycck << adobe;
    }
  }
}

TEST(Jpeg, EqualsWhatPillowDecodes) {
  const auto folder = std::filesystem::path(mumoe::testing::source_folder()) /
                      "tests/data/images";
  for (const std::string name : {"photo", "progressive", "cmyk"}) {
    const std::string bytes = read_file(folder / (name + ".jpg"));
    const IdxArray expected = read_idx(folder / (name + ".idx"));
    const Region part{0,
                      0,
                      static_cast<int>(expected.dims[1]),
                      static_cast<int>(expected.dims[0])};
    EXPECT_LE(mean_difference(cut(decode(bytes, part), part), expected.bytes),
              0.2)
        << name;
  }
}

TEST(Jpeg, TruncatedFilesAreNamedWhateverPartIsWanted) {
  for (const bool progressive : {false, true}) {
    JpegForm form;
    form.progressive = progressive;
    const auto bytes = jpeg_of(200, 160, smooth(200, 160), form);
    for (const std::size_t kept : {bytes.size() - 2,
                                   bytes.size() * 3 / 4,
                                   bytes.size() / 2,
                                   std::size_t{300},
                                   std::size_t{20},
                                   std::size_t{3}}) {
      expect_input_error(
          [&] {
            decode(bytes.substr(0, kept), {0, 0, 9, 9});
          },
          {"some.jpg", "damaged JPEG file"});
    }
  }
}

TEST(Jpeg, DamageInWhatIsDecodedIsNamed) {
  auto bytes = jpeg_of(200, 160, smooth(200, 160));
  // A marker in the middle of the pixels.
  bytes.replace(bytes.size() / 2, 2, "\xff\xd0");
  expect_input_error([&] { whole(bytes); }, {"some.jpg", "damaged JPEG file"});
}

TEST(Jpeg, WhatFollowsTheEndDoesNoHarm) {
  const auto bytes = jpeg_of(40, 30, smooth(40, 30));
  EXPECT_EQ(whole(bytes + std::string(500, '\0')), whole(bytes));
}

TEST(Png, AllFormsBecomeEightBitColour) {
  struct Case {
    int type, bits;
    std::vector<std::uint8_t> row;
    std::vector<std::uint8_t> expected;
  };
  // Two pixels in a row.
  const std::vector<Case> cases = {
      {PNG_COLOR_TYPE_GRAY, 1, {0x40}, {0, 0, 0, 255, 255, 255}},
      {PNG_COLOR_TYPE_GRAY, 2, {0x60}, {85, 85, 85, 170, 170, 170}},
      {PNG_COLOR_TYPE_GRAY, 4, {0x2f}, {34, 34, 34, 255, 255, 255}},
      {PNG_COLOR_TYPE_GRAY, 8, {3, 200}, {3, 3, 3, 200, 200, 200}},
      // 0x0180 is nearer to 1 than to 2 parts of 257, 0xfffe to 255.
      {PNG_COLOR_TYPE_GRAY, 16, {1, 0x80, 255, 254}, {1, 1, 1, 255, 255, 255}},
      {PNG_COLOR_TYPE_GRAY_ALPHA, 8, {9, 0, 8, 255}, {9, 9, 9, 8, 8, 8}},
      {PNG_COLOR_TYPE_RGB, 8, {1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6}},
      {PNG_COLOR_TYPE_RGB,
       16,
       {1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6},
       {1, 2, 3, 4, 5, 6}},
      {PNG_COLOR_TYPE_RGB_ALPHA,
       8,
       {1, 2, 3, 0, 4, 5, 6, 128},
       {1, 2, 3, 4, 5, 6}},
      {PNG_COLOR_TYPE_PALETTE, 8, {2, 1}, {0, 200, 9, 255, 0, 0}},
      {PNG_COLOR_TYPE_PALETTE, 2, {0xb0}, {0, 200, 9, 7, 8, 9}},
  };
  for (const auto& [type, bits, row, expected] : cases) {
    EXPECT_EQ(whole(png_of(2, 1, type, bits, row)), expected)
        << type << " of " << bits << " bits";
  }
}

TEST(Png, InterlacedOnesAreTheSame) {
  const auto values = smooth(31, 17);
  const auto bytes = png_of(31, 17, PNG_COLOR_TYPE_RGB, 8, values, true);
  EXPECT_EQ(whole(bytes), values);
}

TEST(Png, DamagedFilesAreNamed) {
  const auto bytes = png_of(31, 17, PNG_COLOR_TYPE_RGB, 8, smooth(31, 17));
  for (const std::size_t kept :
       {bytes.size() - 4, bytes.size() / 2, std::size_t{20}}) {
    expect_input_error([&] { whole(bytes.substr(0, kept)); },
                       {"some.jpg", "damaged PNG file", "cut short"});
  }
  auto flipped = bytes;
  flipped[bytes.size() / 2] ^= 1;
  expect_input_error([&] { whole(flipped); }, {"some.jpg", "damaged PNG file"});
}

TEST(ImageFile, OtherFormsAreNamed) {
  using namespace std::string_literals;
  expect_input_error([] { whole(""); }, {"some.jpg", "an empty file"});
  expect_input_error([] { whole("GIF89a....."); }, {"some.jpg", "GIF"});
  expect_input_error([] { whole("<html>"); }, {"some.jpg", "markup"});
  expect_input_error([] { whole("\0\1\2\3\4"s); },
                     {"some.jpg", "no known form", "JPEG or PNG"});
}

}  // namespace
}  // namespace mumoe::data

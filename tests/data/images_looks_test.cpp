#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/file.h"
#include "base/purposes.h"
#include "data/images/idx.h"
#include "data/images/looks.h"
#include "data/images/rand_augment.h"
#include "tests/data/pictures.h"
#include "tests/support/source_folder.h"

namespace mumoe::data {
namespace {

using testing::mean_difference;
using testing::rgb_of;

/// What torchvision made, as tests/reference/make_images.py wrote it.
struct Reference {
  Reference()
      : folder(std::filesystem::path(mumoe::testing::source_folder()) /
               "tests/data/images"),
        cases(nlohmann::json::parse(read_file(folder / "cases.json"))) {}

  std::filesystem::path folder;
  nlohmann::json cases;
};

/// Picture `number` of an idx file of several, or of one.
Pixels picture_of(const IdxArray& array, std::int64_t number = 0) {
  const auto dims = std::span(array.dims).last(3);
  Pixels pixels(static_cast<int>(dims[1]), static_cast<int>(dims[0]));
  const std::uint8_t* from =
      array.bytes.data() + number * dims[0] * dims[1] * dims[2];
  for (std::size_t at = 0; at < pixels.size(); at += 4) {
    for (std::size_t c = 0; c < 3; ++c) pixels.data()[at + c] = *from++;
    pixels.data()[at + 3] = 0;
  }
  return pixels;
}

Decoded decoded(Pixels pixels) {
  Decoded result;
  result.pixels = std::move(pixels);
  return result;
}

Resampling box_of(double left,
                  double top,
                  double width,
                  double height,
                  int size) {
  Resampling how;
  how.left = left;
  how.top = top;
  how.box_width = width;
  how.box_height = height;
  how.width = how.height = how.size = size;
  return how;
}

TEST(Resample, AgreesWithTorchvision) {
  const Reference reference;
  const IdxArray source = read_idx(reference.folder / "source.idx");
  const IdxArray expected = read_idx(reference.folder / "resized.idx");
  const int side = reference.cases["side"];
  std::int64_t number = 0;
  const auto compare = [&](const Resampling& how) {
    const auto ours = rgb_of(resample(decoded(picture_of(source)), how));
    const auto theirs = rgb_of(picture_of(expected, number));
    EXPECT_LE(mean_difference(ours, theirs), 0.5) << number;  // promised: 2
    int most = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      most = std::max(most, std::abs(ours[i] - theirs[i]));
    }
    EXPECT_LE(most, 3) << number;
    ++number;
  };
  for (const auto& box : reference.cases["boxes"]) {
    compare(box_of(box[0], box[1], box[2], box[3], side));
  }
  compare(central_look(120, 96, side));
  EXPECT_EQ(number, expected.dims[0]);
}

TEST(Resample, OneColourStaysSoAndTheSameSizeIsACopy) {
  Pixels plain(37, 23);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    plain.data()[i] = static_cast<std::uint8_t>(40 + 70 * (i % 4));
  }
  const auto one = decoded(std::move(plain));
  for (const double width : {37.0, 20.0, 3.0}) {
    const auto values = rgb_of(resample(one, box_of(0, 0, width, 23, 16)));
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], 40 + 70 * (i % 3));
    }
  }
  const Reference reference;
  const auto source =
      decoded(picture_of(read_idx(reference.folder / "source.idx")));
  const auto values = rgb_of(resample(source, box_of(0, 0, 96, 96, 96)));
  const auto all = rgb_of(source.pixels);
  for (std::size_t y = 0; y < 96; ++y) {
    for (std::size_t i = 0; i < 96 * 3; ++i) {
      ASSERT_EQ(values[y * 96 * 3 + i], all[y * 120 * 3 + i]);
    }
  }
}

TEST(Resample, AMirroredLookHasItsColumnsInReverse) {
  const Reference reference;
  const auto source =
      decoded(picture_of(read_idx(reference.folder / "source.idx")));
  Resampling how = box_of(3, 5, 70, 60, 33);
  const Pixels plain = resample(source, how);
  how.mirror = true;
  const Pixels mirrored = resample(source, how);
  for (int y = 0; y < 33; ++y) {
    for (int x = 0; x < 33; ++x) {
      for (int c = 0; c < 3; ++c) {
        ASSERT_EQ(plain.row(y)[4 * x + c], mirrored.row(y)[4 * (32 - x) + c]);
      }
    }
  }
}

TEST(Resample, APartOfThePictureIsAllThatALookNeeds) {
  const Reference reference;
  const auto all = picture_of(read_idx(reference.folder / "source.idx"));
  const CounterRandom random(4, Purpose::test);
  for (std::uint64_t i = 0; i < 40; ++i) {
    const CounterRandom draws(4, Purpose::test, i);
    const Resampling how = i % 2 == 0 ? shifted_look(draws, 120, 96, 20)
                                      : random_look(draws, 120, 96, 20);
    const Region part = how.source(120, 96);
    Decoded some;
    some.left = part.left;
    some.top = part.top;
    some.pixels = Pixels(part.width, part.height);
    for (int y = 0; y < part.height; ++y) {
      std::copy_n(all.row(part.top + y) + 4 * part.left,
                  4 * part.width,
                  some.pixels.row(y));
    }
    Decoded everything;
    everything.pixels = Pixels(120, 96);
    std::copy_n(all.data(), all.size(), everything.pixels.data());
    ASSERT_EQ(rgb_of(resample(some, how)), rgb_of(resample(everything, how)));
  }
}

TEST(RandAugment, EachOperationAgreesWithTorchvision) {
  const Reference reference;
  const IdxArray pictures = read_idx(reference.folder / "operations.idx");
  std::int64_t number = 1;  // the first is the source
  std::set<std::string> seen;
  for (const auto& entry : reference.cases["operations"]) {
    const std::string name = entry[0];
    seen.insert(name);
    Pixels ours = picture_of(pictures);
    int op = 0;
    while (op < kImageOps && to_string(static_cast<ImageOp>(op)) != name) ++op;
    ASSERT_LT(op, kImageOps) << name;
    const auto which = static_cast<ImageOp>(op);
    const double magnitude = entry[1];
    EXPECT_NEAR(magnitude_of(which, 15, 31, ours.width(), ours.height()),
                std::abs(magnitude),
                1e-5)
        << name;
    EXPECT_EQ(has_sign(which), name != "identity" && op < 10) << name;
    apply(which, magnitude, ours);
    const auto mine = rgb_of(ours);
    const auto theirs = rgb_of(picture_of(pictures, number++));
    EXPECT_LE(mean_difference(mine, theirs), 0.1) << name << " " << magnitude;
  }
  EXPECT_EQ(number, pictures.dims[0]);
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kImageOps));
}

TEST(RandAugment, DrawsAllOperationsTwoAtATime) {
  const Reference reference;
  const IdxArray pictures = read_idx(reference.folder / "operations.idx");
  std::set<std::vector<std::uint8_t>> looks;
  for (std::uint64_t i = 0; i < 300; ++i) {
    Pixels picture = picture_of(pictures);
    rand_augment(CounterRandom(2, kAugmentation, i), 64, picture);
    looks.insert(rgb_of(picture));
  }
  EXPECT_GT(looks.size(), 150u);  // of 23 * 23, some of them equal
  Pixels once = picture_of(pictures);
  Pixels again = picture_of(pictures);
  rand_augment(CounterRandom(2, kAugmentation, 7), 64, once);
  rand_augment(CounterRandom(2, kAugmentation, 7), 64, again);
  EXPECT_EQ(rgb_of(once), rgb_of(again));
}

TEST(RandomLook, TakesAreasAndRatiosFromTheirRanges) {
  double area = 0;
  int mirrored = 0;
  constexpr int kLooks = 4000;
  for (std::uint64_t i = 0; i < kLooks; ++i) {
    const CounterRandom random(1, kAugmentation, i);
    const Resampling look = random_look(random, 500, 400, 224);
    const double part = look.box_width * look.box_height / (500.0 * 400.0);
    const double ratio = look.box_width / look.box_height;
    ASSERT_GE(part, 0.078);
    ASSERT_LE(part, 1.0);
    ASSERT_GE(ratio, 0.74);
    ASSERT_LE(ratio, 1.35);
    ASSERT_GE(look.left, 0);
    ASSERT_LE(look.left + look.box_width, 500);
    ASSERT_LE(look.top + look.box_height, 400);
    area += part / kLooks;
    mirrored += look.mirror;
  }
  // Uniform would be 0.54; large ones fit less often.
  EXPECT_GT(area, 0.45);
  EXPECT_LT(area, 0.54);
  EXPECT_NEAR(mirrored, kLooks / 2, 130);  // four deviations
}

TEST(RandomLook, TakesTheMiddleWhereNothingFits) {
  const CounterRandom random(1, kAugmentation);
  const Resampling wide = random_look(random, 3000, 10, 224);
  EXPECT_EQ(wide.box_width, 13);
  EXPECT_EQ(wide.box_height, 10);
  EXPECT_EQ(wide.left, 1493);
  const Resampling dot = random_look(random, 1, 1, 224);
  EXPECT_EQ(dot.box_width, 1);
}

TEST(CentralLook, IsResize256AndCrop224) {
  const Resampling look = central_look(500, 375, 224);
  EXPECT_EQ(look.height, 256);
  EXPECT_EQ(look.width, 341);  // 256 * 500 / 375, cut off
  EXPECT_EQ(look.window_top, 16);
  EXPECT_EQ(look.window_left, 58);  // 58.5, to the even number
  EXPECT_FALSE(look.mirror);
}

}  // namespace
}  // namespace mumoe::data

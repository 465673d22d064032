#include <png.h>

#include <algorithm>
#include <set>
#include <string>

#include "data/images/image_data.h"
#include "tests/data/pictures.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using mumoe::testing::expect_input_error;
using mumoe::testing::ScratchFolder;
using testing::jpeg_of;
using testing::png_of;
using testing::smooth;

std::string plain_png(std::uint8_t value) {
  return png_of(40,
                30,
                PNG_COLOR_TYPE_GRAY,
                8,
                std::vector<std::uint8_t>(1200, value));
}

/// Two classes; five images to train on and two for validation.
void write_tree(const ScratchFolder& folder) {
  folder.write("train/cat/a.JPEG", jpeg_of(90, 60, smooth(90, 60)));
  folder.write("train/cat/b.png", plain_png(90));
  folder.write("train/cat/more/c.jpg", jpeg_of(60, 90, smooth(60, 90)));
  folder.write("train/dog/a.PNG", plain_png(200));
  folder.write("train/dog/b.jpeg", jpeg_of(70, 70, smooth(70, 70)));
  folder.write("val/cat/a.png", plain_png(124));
  folder.write("val/dog/a.jpg", jpeg_of(70, 50, smooth(70, 50)));
}

ImageOptions options_of(const ScratchFolder& folder) {
  ImageOptions options;
  options.source = folder.path().string();
  options.size = 28;
  options.seed = 3;
  return options;
}

ImageData open(const ScratchFolder& folder, BadImages bad = BadImages::refuse) {
  ImageOptions options = options_of(folder);
  options.bad = bad;
  return open_images(options);
}

std::vector<float> input(const Samples& samples,
                         const std::vector<std::uint64_t>& indices) {
  return std::get<std::vector<float>>(samples.make(indices).input);
}

std::vector<std::int32_t> labels(const Samples& samples,
                                 const std::vector<std::uint64_t>& indices) {
  return std::get<std::vector<std::int32_t>>(samples.make(indices).target);
}

TEST(ImageTree, FoldersAreClassesInTheOrderOfTheirNames) {
  const ScratchFolder folder;
  write_tree(folder);
  const ImageData data = open(folder);
  EXPECT_EQ(data.class_names, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(data.classes, 2);
  EXPECT_EQ(data.channels, 3);
  EXPECT_EQ(data.size, 28);
  EXPECT_EQ(data.train->size(), 5u);
  EXPECT_EQ(data.val->size(), 2u);
  EXPECT_TRUE(data.notes.empty());
  EXPECT_EQ(labels(*data.train, {0, 1, 2, 3, 4, 8}),
            (std::vector<std::int32_t>{0, 0, 0, 1, 1, 1}));
  // An evaluation of a plain picture is its value, normalised.
  const auto pixels = input(*data.val, {0});
  ASSERT_EQ(pixels.size(), 3u * 28 * 28);
  EXPECT_NEAR(pixels[0], (124 / 255.0 - 0.485) / 0.229, 1e-6);
  EXPECT_NEAR(pixels[28 * 28], (124 / 255.0 - 0.456) / 0.224, 1e-6);
  EXPECT_NEAR(pixels[3 * 28 * 28 - 1], (124 / 255.0 - 0.406) / 0.225, 1e-6);
  EXPECT_EQ(input(*data.val, {1}), input(*data.val, {1 + 2 * 5}));
}

TEST(ImageTree, AreNormalisedAsClipsWhereThatIsAsked) {
  const ScratchFolder folder;
  write_tree(folder);
  ImageOptions options = options_of(folder);
  options.normalisation = Normalisation::clip;
  const auto pixels = input(*open_images(options).val, {0});
  EXPECT_NEAR(pixels[0], (124 / 255.0 - 0.48145466) / 0.26862954, 1e-6);
  EXPECT_NEAR(pixels[28 * 28], (124 / 255.0 - 0.4578275) / 0.26130258, 1e-6);
}

// Rectangles of their own, as of imagenet, but none is mirrored.
TEST(ImageTree, AreCroppedAloneWhereThatIsAsked) {
  const ScratchFolder folder;
  std::vector<std::uint8_t> ramp(40 * 30);
  for (std::size_t i = 0; i < ramp.size(); ++i) {
    ramp[i] = static_cast<std::uint8_t>(6 * (i % 40));
  }
  folder.write("train/a/a.png", png_of(40, 30, PNG_COLOR_TYPE_GRAY, 8, ramp));
  folder.write("val/a/a.png", plain_png(124));
  ImageOptions options = options_of(folder);
  options.augment = Augmentation::resized_crop;
  const ImageData data = open_images(options);
  std::set<float> begins;
  for (std::uint64_t index = 0; index < 16; ++index) {
    const auto pixels = input(*data.train, {index});
    EXPECT_LT(pixels[0], pixels[27]) << index;
    begins.insert(pixels[0]);
  }
  EXPECT_GT(begins.size(), 4u);
}

TEST(ImageTree, PixelsAreTheSameForAnyThreadsAndBatches) {
  const ScratchFolder folder;
  write_tree(folder);
  std::vector<std::uint64_t> all;
  for (std::uint64_t i = 0; i < 150; ++i) all.push_back(i);
  for (const auto augment :
       {Augmentation::automatic, Augmentation::crop_flip, Augmentation::none}) {
    ImageOptions options = options_of(folder);
    options.augment = augment;
    const auto expected = input(*open_images(options).train, all);
    for (const int threads : {2, 4}) {
      options.threads = threads;
      const ImageData data = open_images(options);
      ASSERT_EQ(input(*data.train, all), expected);
      // As a rank of three sees them.
      const auto rank = input(*data.train, {147, 1, 148});
      const auto second = expected.begin() + 3 * 28 * 28;
      EXPECT_TRUE(
          std::equal(second, second + 3 * 28 * 28, rank.begin() + 3 * 28 * 28));
    }
  }
}

TEST(ImageTree, EachEpochHasAnotherLookAndEachSeed) {
  const ScratchFolder folder;
  write_tree(folder);
  ImageOptions options = options_of(folder);
  const ImageData data = open_images(options);
  EXPECT_NE(input(*data.train, {0}), input(*data.train, {5}));
  options.seed = 4;
  EXPECT_NE(input(*data.train, {0}), input(*open_images(options).train, {0}));
}

TEST(ImageTree, WhatIsNoImageIsCountedAndNamed) {
  const ScratchFolder folder;
  write_tree(folder);
  folder.write("train/cat/notes.txt", "x");
  folder.write("train/.hidden/a.png", plain_png(1));
  folder.write("train/readme", "x");
  const ImageData data = open(folder);
  EXPECT_EQ(data.train->size(), 5u);
  ASSERT_EQ(data.notes.size(), 1u);
  EXPECT_NE(data.notes[0].find("skipped 3"), std::string::npos);
  EXPECT_NE(data.notes[0].find("the first .hidden"), std::string::npos);
}

TEST(ImageTree, OddClassesAreNamed) {
  const ScratchFolder folder;
  expect_input_error([&] { open(folder); },
                     {folder.path().string(), "train-images-idx3-ubyte"});
  write_tree(folder);
  std::filesystem::create_directories(folder.path() / "train/eel");
  expect_input_error([&] { open(folder); },
                     {"train/eel", "a class without images"});
  folder.write("train/eel/a.png", plain_png(3));
  const ImageData data = open(folder);
  ASSERT_EQ(data.notes.size(), 1u);
  EXPECT_NE(data.notes[0].find("no folder of 1 classes, the first eel"),
            std::string::npos);
  folder.write("val/fox/a.png", plain_png(3));
  expect_input_error([&] { open(folder); },
                     {"val/fox", "no class of the training set"});
  std::filesystem::remove_all(folder.path() / "val");
  expect_input_error([&] { open(folder); },
                     {folder.path().string(), "no folder val"});
}

TEST(ImageTree, DamagedFilesAreRefusedWhereTheyAreNeeded) {
  const ScratchFolder folder;
  write_tree(folder);
  const std::string whole = jpeg_of(90, 60, smooth(90, 60));
  folder.write("train/cat/bad.jpg", whole.substr(0, whole.size() / 2));
  const ImageData data = open(folder);
  EXPECT_EQ(data.train->size(), 6u);
  input(*data.train, {0, 1});
  for (std::uint64_t epoch = 0; epoch < 20; ++epoch) {
    expect_input_error(
        [&] {
          input(*data.train, {0, 2 + 6 * epoch, 4});
        },
        {"train/cat/bad.jpg", "damaged JPEG file"});
  }
}

TEST(ImageTree, DamagedFilesAreLeftOutWhenAsked) {
  const ScratchFolder folder;
  write_tree(folder);
  const auto expected = input(*open(folder).train, {0, 1, 2, 3, 4, 9});
  const std::string whole = jpeg_of(90, 60, smooth(90, 60));
  folder.write("train/cat/bad.jpg", whole.substr(0, whole.size() / 2));
  folder.write("train/dog/text.png", "<html>");
  folder.write("train/dog/empty.png", "");
  expect_input_error([&] { open(folder); },
                     {"train/dog/empty.png", "an empty file"});
  const ImageData data = open(folder, BadImages::skip);
  EXPECT_EQ(data.train->size(), 5u);
  EXPECT_EQ(input(*data.train, {0, 1, 2, 3, 4, 9}), expected);
  ASSERT_EQ(data.notes.size(), 2u);
  EXPECT_NE(data.notes[0].find("skipped 1 empty files"), std::string::npos);
  EXPECT_NE(data.notes[1].find("skipped 2 files that cannot be decoded"),
            std::string::npos);
  EXPECT_NE(data.notes[1].find("train/cat/bad.jpg: damaged JPEG"),
            std::string::npos);
  folder.write("val/dog/a.jpg", "GIF89a");
  expect_input_error([&] { open(folder, BadImages::skip); },
                     {"val/dog", "without images", "can be decoded"});
}

TEST(ImageTree, TheHashTellsWhichFilesThereAre) {
  const ScratchFolder folder;
  write_tree(folder);
  const ImageData one = open(folder);
  EXPECT_EQ(one.train_hash, open(folder).train_hash);
  folder.write("train/dog/c.png", plain_png(3));
  const ImageData two = open(folder);
  EXPECT_NE(one.train_hash, two.train_hash);
  EXPECT_EQ(one.val_hash, two.val_hash);
}

}  // namespace
}  // namespace mumoe::data

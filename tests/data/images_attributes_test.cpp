#include <fmt/format.h>
#include <png.h>

#include "data/attributes.h"
#include "data/images/image_data.h"
#include "data/nearest.h"
#include "tests/data/pictures.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using mumoe::testing::expect_input_error;
using mumoe::testing::ScratchFolder;

std::string grey_png(int value) {
  return testing::png_of(
      21,
      25,
      PNG_COLOR_TYPE_GRAY,
      8,
      std::vector<std::uint8_t>(std::size_t{21} * 25,
                                static_cast<std::uint8_t>(value)));
}

constexpr char kList[] = "list_attr_celeba.txt";
constexpr char kParts[] = "list_eval_partition.txt";

/// CelebA's form: seven images, of which four are for training, one for
/// validation and two for the test, not in order; the lists as they are
/// published, with blanks at the ends of lines and two of them before a 1.
void write_celeba(const ScratchFolder& folder) {
  folder.write(kList,
               "7\n"
               "Blond_Hair Male Young \n"
               "000001.jpg -1  1  1\n"
               "000002.jpg -1 -1 -1\n"
               "000003.jpg  1 -1  1\n"
               "000004.jpg  1  1 -1\r\n"
               "000005.jpg -1 -1  1\n"
               "000006.jpg  1 -1 -1\n"
               "000007.jpg -1  1  1\n");
  folder.write(kParts,
               "000001.jpg 0\n"
               "000002.jpg 2\n"
               "000003.jpg 0\n"
               "000004.jpg 1\n"
               "000005.jpg 0\n"
               "000006.jpg 0\n"
               "000007.jpg 2\n");
  for (int i = 1; i <= 7; ++i) {
    folder.write(
        fmt::format("img_align_celeba/00000{}.{}", i, i == 5 ? "png" : "jpg"),
        grey_png(30 * i));
  }
}

ImageData open(const ScratchFolder& folder,
               const std::string& target = "Male",
               BadImages bad = BadImages::refuse) {
  ImageOptions options;
  options.source = folder.path().string();
  options.target = target;
  options.size = 14;
  options.augment = Augmentation::none;
  options.bad = bad;
  return open_images(options);
}

std::vector<std::int32_t> labels(const Samples& samples) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t i = 0; i < samples.size(); ++i) all.push_back(i);
  return std::get<std::vector<std::int32_t>>(samples.make(all).target);
}

using Labels = std::vector<std::int32_t>;
using Names = std::vector<std::string>;

TEST(CelebA, PartsAndAttributesAreThoseOfTheLists) {
  const ScratchFolder folder;
  write_celeba(folder);
  const ImageData data = open(folder);
  EXPECT_EQ(data.classes, 2);
  EXPECT_EQ(data.channels, 3);
  EXPECT_EQ(data.size, 14);
  EXPECT_EQ(data.class_names, (Names{"not Male", "Male"}));
  EXPECT_EQ(labels(*data.train), (Labels{1, 0, 0, 0}));
  EXPECT_EQ(labels(*data.val), (Labels{1}));
  ASSERT_NE(data.test, nullptr);
  EXPECT_EQ(labels(*data.test), (Labels{0, 1}));
  EXPECT_TRUE(data.notes.empty());
  const Attributes* attributes = data.train->attributes();
  ASSERT_NE(attributes, nullptr);
  EXPECT_EQ(attributes->names, (Names{"Blond_Hair", "Male", "Young"}));
  EXPECT_EQ(attributes->images(), 4u);
  EXPECT_EQ(attributes->values,
            (std::vector<std::uint8_t>{0, 1, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0}));
  EXPECT_TRUE(attributes->at(1, attributes->find("Blond_Hair", "test")));
  EXPECT_EQ(data.test->attributes()->values,
            (std::vector<std::uint8_t>{0, 0, 0, 0, 1, 1}));
  // Image 5, the third for training, is there as .png: its grey is 150.
  const auto input = std::get<std::vector<float>>(
      data.train->make(std::vector<std::uint64_t>{2}).input);
  EXPECT_NEAR(input[0], (150 / 255.0f - 0.485f) / 0.229f, 1e-4);
}

TEST(CelebA, AnotherTargetIsAnotherTaskOnTheSameImages) {
  const ScratchFolder folder;
  write_celeba(folder);
  const ImageData male = open(folder), young = open(folder, "Young");
  EXPECT_EQ(labels(*young.train), (Labels{1, 1, 1, 0}));
  EXPECT_EQ(young.class_names, (Names{"not Young", "Young"}));
  EXPECT_EQ(young.train->attributes()->values,
            male.train->attributes()->values);
  EXPECT_NE(young.train_hash, male.train_hash);
  EXPECT_NE(young.train_hash, young.val_hash);
  EXPECT_EQ(open(folder).train_hash, male.train_hash);
  const auto shape = image_shape(folder.path().string(), "Young");
  EXPECT_EQ(shape.size, 224);
  EXPECT_EQ(shape.channels, 3);
  EXPECT_EQ(shape.classes, 2);
}

TEST(CelebA, WhatIsWrongIsOneLine) {
  const ScratchFolder folder;
  write_celeba(folder);
  const std::string list = (folder.path() / kList).string();
  const std::string parts = (folder.path() / kParts).string();
  const auto refused = [&](std::initializer_list<std::string> texts) {
    expect_input_error([&] { open(folder); }, texts);
  };
  expect_input_error([&] { open(folder, "Yong"); },
                     {"data.target = Yong", "did you mean Young?"});
  expect_input_error([&] { open(folder, "class"); },
                     {"data.target = class", "one of Blond_Hair, Male, Young"});
  std::filesystem::remove(folder.path() / "img_align_celeba/000006.jpg");
  refused({"img_align_celeba/000006.jpg: missing", kList});
  std::filesystem::remove_all(folder.path() / "img_align_celeba");
  refused({"img_align_celeba", "cannot list"});
  const auto with = [&](const std::string& attributes,
                        const std::string& split,
                        std::initializer_list<std::string> texts) {
    folder.write(kList, attributes);
    folder.write(kParts, split);
    refused(texts);
  };
  with("", "", {list, "begins with nothing", "number of images"});
  with("Male\n", "", {list, "begins with Male"});
  with("2\n", "", {list, "one line", "names of the attributes"});
  with("2\nMale\na.jpg 1\n", "", {list, "1 images; expected 2"});
  with("1\nMale Old\na.jpg 1\n",
       "",
       {list + " line 3", "1 values; expected 2"});
  with("1\nMale\na.jpg 0\n", "", {list + " line 3", "Male of a.jpg is 0"});
  with("2\nMale\na.jpg 1\na.jpg 1\n", "", {list, "a.jpg is there twice"});
  with("1\nMale\na.jpg 1\n", "", {parts, "0 images; expected 1", kList});
  with("1\nMale\na.jpg 1\n", "a.jpg 3\n", {parts + " line 1", "0, 1 or 2"});
  with("1\nMale\na.jpg 1\n", "b.jpg 0\n", {parts + " line 1", "b.jpg is not"});
  with("2\nMale\na.jpg 1\nb.jpg 1\n",
       "a.jpg 0\na.jpg 0\n",
       {parts + " line 2", "a.jpg is there twice"});
  folder.write("img_align_celeba/a.jpg", grey_png(3));
  with("1\nMale\na.jpg 1\n", "a.jpg 1\n", {parts, "no images for training"});
  with("1\nMale\na.jpg 1\n", "a.jpg 0\n", {parts, "images for validation"});
  std::filesystem::remove(parts);
  refused({parts});
}

TEST(CelebA, ImagesThatCannotBeDecodedAreLeftOutWhereThatIsAsked) {
  const ScratchFolder folder;
  write_celeba(folder);
  folder.write("img_align_celeba/000003.jpg", "no image");
  const ImageData data = open(folder, "Male", BadImages::skip);
  EXPECT_EQ(labels(*data.train), (Labels{1, 0, 0}));
  EXPECT_EQ(data.train->attributes()->values,
            (std::vector<std::uint8_t>{0, 1, 1, 0, 0, 1, 1, 0, 0}));
  ASSERT_EQ(data.notes.size(), 1u);
  EXPECT_NE(data.notes[0].find("skipped 1 files"), std::string::npos);
  const ImageData refusing = open(folder);
  expect_input_error([&] { labels(*refusing.train); }, {"000003.jpg"});
}

TEST(Attributes, AreNotAskedOfWhatHasNone) {
  const ScratchFolder folder;
  folder.write("train/a/1.png", grey_png(4));
  folder.write("val/a/1.png", grey_png(4));
  expect_input_error([&] { open(folder); },
                     {"data.target = Male", "no attributes", "expected class"});
  EXPECT_EQ(open(folder, "class").train->attributes(), nullptr);
}

TEST(NearestName, IsSaidWhereItIsNear) {
  EXPECT_EQ(nearest_name("blond_hair", {"Bald", "Blond_Hair"}),
            " (did you mean Blond_Hair?)");
  EXPECT_EQ(nearest_name("Age", {"Bald", "Blond_Hair"}), "");
  EXPECT_EQ(nearest_name("Age", {}), "");
}

}  // namespace
}  // namespace mumoe::data

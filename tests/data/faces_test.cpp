#include "data/images/faces.h"

#include "base/file.h"
#include "data/attributes.h"
#include "data/fetch.h"
#include "data/images/image_data.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

std::vector<std::filesystem::path> packages() {
  std::vector<std::filesystem::path> all;
  for (const char* key : {"face-drawing", "face-schema", "face-styles"}) {
    all.push_back(fetch(find_package(key), cache_folder()).parent_path());
  }
  return all;
}

ImageData open(const ScratchFolder& folder, const std::string& target) {
  ImageOptions options;
  options.source = folder.path().string();
  options.target = target;
  options.size = 64;
  options.augment = Augmentation::none;
  return open_images(options);
}

TEST(Faces, AreOfCelebAsFormWhateverTheProcesses) {
  const ScratchFolder one, two;
  write_faces(packages(), 32, one.path(), 1);
  write_faces(packages(), 16, two.path(), 2);
  const ImageData all = open(one, "Blond_Hair"), half = open(two, "Blond_Hair");
  EXPECT_EQ(all.train->size(), 20u);
  EXPECT_EQ(all.val->size(), 4u);
  EXPECT_EQ(all.test->size(), 8u);
  // Face i is the same however many there are.
  std::vector<std::uint64_t> first;
  for (std::uint64_t i = 0; i < half.train->size(); ++i) first.push_back(i);
  EXPECT_TRUE(all.train->make(first).input == half.train->make(first).input);
  const Attributes* attributes = all.train->attributes();
  ASSERT_NE(attributes, nullptr);
  const auto male = attributes->find("Male", "test");
  const auto beard = attributes->find("No_Beard", "test");
  const auto blond = attributes->find("Blond_Hair", "test");
  const auto black = attributes->find("Black_Hair", "test");
  int males = 0;
  for (std::size_t i = 0; i < attributes->images(); ++i) {
    males += attributes->at(i, male);
    EXPECT_TRUE(attributes->at(i, male) || attributes->at(i, beard));
    EXPECT_FALSE(attributes->at(i, blond) && attributes->at(i, black));
  }
  EXPECT_GT(males, 3);
  EXPECT_LT(males, 17);
}

TEST(Faces, WhatPythonSaysIsPartOfTheLine) {
  const ScratchFolder folder;
  expect_input_error(
      [&] { write_faces({folder.path() / "none"}, 1, folder.path(), 1); },
      {"drawing faces", "python3", "dicebear"});
}

}  // namespace
}  // namespace mumoe::data

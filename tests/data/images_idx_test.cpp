#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "data/images/idx.h"
#include "data/images/idx_samples.h"
#include "data/images/image_data.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

namespace fs = std::filesystem;

std::string idx(std::vector<std::uint32_t> dims, std::string_view bytes) {
  std::string text{'\0', '\0', '\x08', static_cast<char>(dims.size())};
  for (const std::uint32_t dim : dims) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      text += static_cast<char>(dim >> shift & 255);
    }
  }
  return text + std::string(bytes);
}

void write_gzip(const fs::path& path, const std::string& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())),
            static_cast<int>(bytes.size()));
  gzclose(file);
}

/// 3 training images of 8 x 8 and 2 for validation; each pixel tells its place.
void write_set(const ScratchFolder& folder) {
  std::string pixels;
  for (int i = 0; i < 3 * 64; ++i) pixels += static_cast<char>(i);
  folder.write("train-images-idx3-ubyte", idx({3, 8, 8}, pixels));
  folder.write("train-labels-idx1-ubyte", idx({3}, {"\2\0\1", 3}));
  write_gzip(folder.path() / "t10k-images-idx3-ubyte.gz",
             idx({2, 8, 8}, pixels.substr(0, 128)));
  write_gzip(folder.path() / "t10k-labels-idx1-ubyte.gz",
             idx({2}, {"\0\2", 2}));
}

ImageData open(const ScratchFolder& folder,
               Augmentation augment = Augmentation::automatic,
               int threads = 1) {
  ImageOptions options;
  options.source = folder.path().string();
  options.augment = augment;
  options.seed = 5;
  options.threads = threads;
  return open_images(options);
}

std::vector<float> input(const Samples& samples,
                         std::vector<std::uint64_t> indices) {
  return std::get<std::vector<float>>(samples.make(indices).input);
}

TEST(IdxImages, AreReadPlainAndGzippedAndNormalised) {
  const ScratchFolder folder;
  write_set(folder);
  const ImageData data = open(folder, Augmentation::none);
  EXPECT_EQ(data.train->size(), 3u);
  EXPECT_EQ(data.val->size(), 2u);
  EXPECT_EQ(data.classes, 3);
  EXPECT_EQ(data.channels, 1);
  EXPECT_EQ(data.size, 8);
  EXPECT_EQ(data.class_names, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_NE(data.train_hash, data.val_hash);
  // The integers 0 to 191: mean 95.5, variance (192^2 - 1) / 12.
  const double deviation = std::sqrt((192.0 * 192.0 - 1) / 12);
  const HostBatch batch = data.train->make(std::vector<std::uint64_t>{2, 0});
  EXPECT_EQ(batch.samples, 2);
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(batch.target),
            (std::vector<std::int32_t>{1, 2}));
  const auto& pixels = std::get<std::vector<float>>(batch.input);
  ASSERT_EQ(pixels.size(), 128u);
  for (int i = 0; i < 64; ++i) {
    EXPECT_NEAR(pixels[i], (128 + i - 95.5) / deviation, 1e-6);
    EXPECT_NEAR(pixels[64 + i], (i - 95.5) / deviation, 1e-6);
  }
}

TEST(IdxImages, AreShiftedAndMirroredAsSeedAndIndexSay) {
  const ScratchFolder folder;
  write_set(folder);
  const ImageData plain = open(folder, Augmentation::none);
  const ImageData one = open(folder);
  const auto whole = input(*plain.train, {0});
  std::set<std::vector<float>> looks;
  bool mirrored = false;
  for (std::uint64_t epoch = 0; epoch < 60; ++epoch) {
    const auto look = input(*one.train, {3 * epoch});
    looks.insert(look);
    // Inside, neighbours differ by one step of the value, up or down.
    const float step = look[4 * 8 + 4] - look[4 * 8 + 3];
    EXPECT_NEAR(std::abs(step), whole[1] - whole[0], 1e-6);
    mirrored |= step < 0;
    // A shift of one in each direction at most: the middle comes from near it.
    EXPECT_LE(std::abs(look[4 * 8 + 4] - whole[4 * 8 + 4]),
              11 * (whole[1] - whole[0]));
  }
  EXPECT_TRUE(mirrored);
  EXPECT_GT(looks.size(), 12u);  // of 18
  EXPECT_EQ(input(*plain.val, {1}), input(*one.val, {1 + 2 * 7}));
}

TEST(IdxImages, AreTheSameForAnyNumberOfThreadsAndAnyBatch) {
  const ScratchFolder folder;
  write_set(folder);
  std::vector<std::uint64_t> all;
  for (std::uint64_t i = 0; i < 100; ++i) all.push_back(7 * i);
  const auto expected = input(*open(folder).train, all);
  for (const int threads : {2, 4}) {
    const ImageData data = open(folder, Augmentation::automatic, threads);
    EXPECT_EQ(input(*data.train, all), expected);
    EXPECT_EQ(input(*data.train, {7 * 99}),
              (std::vector<float>(expected.end() - 64, expected.end())));
  }
}

TEST(IdxImages, DamagedFilesAreNamed) {
  const ScratchFolder folder;
  const std::string image =
      (folder.path() / "train-images-idx3-ubyte").string();
  const std::string label =
      (folder.path() / "train-labels-idx1-ubyte").string();
  const auto refused = [&](std::initializer_list<std::string> parts) {
    expect_input_error([&] { open(folder); }, parts);
  };
  refused({folder.path().string(), "no train-images-idx3-ubyte"});
  write_set(folder);
  folder.write("train-images-idx3-ubyte", idx({3, 8, 8}, "short"));
  refused({image, "5 bytes", "3 x 8 x 8 = 192"});
  folder.write("train-images-idx3-ubyte", "PNG");
  refused({image, "50 4e 47", "idx"});
  folder.write("train-images-idx3-ubyte", "");
  refused({image, "nothing"});
  folder.write("train-images-idx3-ubyte", std::string("\0\0\x08\x03\0\0", 6));
  refused({image, "6 bytes", "header of 16"});
  folder.write("train-images-idx3-ubyte",
               idx({0xffffffffu, 0xffffffffu, 9}, ""));
  refused({image, "at most"});
  folder.write("train-images-idx3-ubyte", idx({0, 8, 8}, ""));
  refused({image, "0 x 8 x 8", "images x height x width"});
  folder.write("train-images-idx3-ubyte", idx({2, 8, 4}, std::string(64, 'a')));
  refused({label, "3 labels", "expected 2"});
  folder.write("train-images-idx3-ubyte", idx({3, 8, 4}, std::string(96, 'a')));
  refused({image, "8 x 4", "square"});
  folder.write("train-images-idx3-ubyte", idx({3, 4, 4}, std::string(48, 'a')));
  refused({"t10k-images", "8 x 8", "4 x 4"});
}

TEST(IdxImages, HeadsAndLabelsTellTheirShape) {
  ScratchFolder folder;
  const auto shape = [&] { return image_shape(folder.path().string()); };
  EXPECT_EQ(shape().size, 0);
  write_set(folder);
  EXPECT_EQ(shape().size, 8);
  EXPECT_EQ(shape().channels, 1);
  EXPECT_EQ(shape().classes, 3);
  EXPECT_EQ(read_idx_dims(folder.path() / "t10k-images-idx3-ubyte.gz"),
            (std::vector<std::int64_t>{2, 8, 8}));
  // What is damaged is refused where it is opened, which names it.
  folder.write("train-images-idx3-ubyte", "no idx file");
  EXPECT_EQ(shape().size, 0);
  expect_input_error([&] { open(folder); }, {"train-images-idx3-ubyte"});
}

TEST(IdxImages, ATruncatedGzipFileIsNamed) {
  const ScratchFolder folder;
  write_set(folder);
  const fs::path packed = folder.path() / "t10k-images-idx3-ubyte.gz";
  fs::resize_file(packed, fs::file_size(packed) - 9);
  expect_input_error([&] { open(folder); },
                     {packed.string(), "not a whole gzip file"});
  fs::resize_file(packed, 2);
  expect_input_error([&] { open(folder); },
                     {packed.string(), "not a whole gzip file"});
}

TEST(IdxImages, LabelsOutOfRangeAreNamed) {
  const ScratchFolder folder;
  write_set(folder);
  write_gzip(folder.path() / "t10k-labels-idx1-ubyte.gz", idx({2}, "\1\7"));
  expect_input_error([&] { open(folder); },
                     {"t10k-labels-idx1-ubyte.gz",
                      "label 7 of image 1",
                      "expected one below 3"});
  folder.write("train-labels-idx1-ubyte", idx({3}, {"\0\0\7", 3}));
  const ImageData data = open(folder);
  EXPECT_EQ(data.classes, 8);
  ASSERT_EQ(data.notes.size(), 1u);
  EXPECT_NE(data.notes[0].find("no training image has label 1"),
            std::string::npos);
}

TEST(IdxImages, OfColourAreThreePlanes) {
  const ScratchFolder folder;
  std::string pixels;
  for (int i = 0; i < 2 * 4 * 4 * 3; ++i) pixels += static_cast<char>(i);
  folder.write("train-images-idx4-ubyte", idx({2, 4, 4, 3}, pixels));
  folder.write("train-labels-idx1-ubyte", idx({2}, {"\0\1", 2}));
  folder.write("val-images-idx4-ubyte",
               idx({1, 4, 4, 3}, pixels.substr(0, 48)));
  folder.write("val-labels-idx1-ubyte", idx({1}, {"\1", 1}));
  const ImageData data = open(folder, Augmentation::none);
  EXPECT_EQ(data.channels, 3);
  EXPECT_EQ(image_shape(folder.path().string()).channels, 3);
  const auto values = input(*data.train, {1});
  ASSERT_EQ(values.size(), 48u);
  // Channel c of pixel i of image 1 is 48 + 3 i + c; of all images the mean of
  // channel c is 46.5 + c, the variance 9 (32^2 - 1) / 12.
  const double deviation = 3 * std::sqrt((32.0 * 32.0 - 1) / 12);
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 16; ++i) {
      EXPECT_NEAR(values[16 * c + i], (48 + 3 * i - 46.5) / deviation, 1e-5);
    }
  }
  folder.write("val-images-idx4-ubyte",
               idx({1, 4, 4, 2}, pixels.substr(0, 32)));
  expect_input_error([&] { open(folder); }, {"val-images", "1 x 4 x 4 x 2"});
  fs::remove(folder.path() / "val-images-idx4-ubyte");
  folder.write("val-images-idx3-ubyte", idx({1, 4, 4}, pixels.substr(0, 16)));
  expect_input_error([&] { open(folder); },
                     {"val-images", "4 x 4 x 1", "expected 4 x 4 x 3"});
}

TEST(IdxImages, FilesBesideThemNameClassesAndAttributes) {
  const ScratchFolder folder;
  write_set(folder);
  folder.write("classes.txt", "zero\none\ntwo\nthree\n");
  folder.write("attributes.txt", "Tall\nRound");
  folder.write("train-attributes-idx2-ubyte", idx({3, 2}, {"\0\1\1\1\0\0", 6}));
  folder.write("t10k-attributes-idx2-ubyte", idx({2, 2}, {"\1\0\0\0", 4}));
  const ImageData data = open(folder);
  EXPECT_EQ(data.class_names,
            (std::vector<std::string>{"zero", "one", "two", "three"}));
  EXPECT_EQ(image_shape(folder.path().string()).classes, 4);
  EXPECT_EQ(data.notes.size(), 1u);  // no image of the last
  ASSERT_NE(data.train->attributes(), nullptr);
  EXPECT_EQ(data.train->attributes()->names,
            (std::vector<std::string>{"Tall", "Round"}));
  EXPECT_TRUE(data.train->attributes()->at(1, 0));
  EXPECT_FALSE(data.val->attributes()->at(1, 0));
  ImageOptions options;
  options.source = folder.path().string();
  options.target = "Round";
  const ImageData round = open_images(options);
  EXPECT_EQ(round.class_names,
            (std::vector<std::string>{"not Round", "Round"}));
  const HostBatch batch =
      round.train->make(std::vector<std::uint64_t>{0, 1, 2});
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(batch.target),
            (std::vector<std::int32_t>{1, 1, 0}));
  EXPECT_EQ(image_shape(options.source, "Round").classes, 2);
  options.target = "Rund";
  expect_input_error([&] { open_images(options); },
                     {"data.target = Rund", "did you mean Round?"});
  const auto refused = [&](const std::string& bytes,
                           std::initializer_list<std::string> parts) {
    folder.write("train-attributes-idx2-ubyte", bytes);
    expect_input_error([&] { open(folder); }, parts);
  };
  refused(idx({3, 1}, {"\0\1\1", 3}), {"3 x 1", "expected 3 x 2"});
  refused(idx({3, 2}, {"\0\1\1\2\0\0", 6}), {"value 2 of image 1"});
  folder.write("attributes.txt", "Tall\nTall\n");
  refused(idx({3, 2}, "aaaaaa"), {"attributes.txt line 2: Tall"});
  folder.write("classes.txt", "zero\n\n");
  refused("", {"classes.txt line 2: empty"});
  folder.write("classes.txt", "zero\none\n");
  refused("", {"train-labels", "label 2", "below 2"});
}

TEST(FashionMnist, IsWhatItsAuthorsSay) {
  ImageOptions options;
  options.source = "fashion-mnist";
  options.augment = Augmentation::none;
  const ImageData data = open_images(options);
  EXPECT_EQ(data.train->size(), 60000u);
  EXPECT_EQ(data.val->size(), 10000u);
  EXPECT_EQ(data.classes, 10);
  EXPECT_EQ(data.size, 28);
  EXPECT_EQ(data.class_names[9], "Ankle boot");
  // Black is -mean / deviation; with white it gives both. Published: 0.2860 and
  // 0.3530.
  const auto values = input(*data.train, {0, 1, 2, 3});
  const auto [black, white] = std::ranges::minmax(values);
  const float deviation = 1 / (white - black);
  EXPECT_NEAR(deviation, 0.3530, 5e-5);
  EXPECT_NEAR(-black * deviation, 0.2860, 5e-5);
  std::vector<std::uint64_t> all(10000);
  for (std::uint64_t i = 0; i < all.size(); ++i) all[i] = i;
  std::vector<int> count(10);
  const HostBatch batch = data.val->make(all);
  for (const auto label : std::get<std::vector<std::int32_t>>(batch.target)) {
    ++count[static_cast<std::size_t>(label)];
  }
  EXPECT_EQ(count, std::vector<int>(10, 1000));
}

TEST(ImageOptions, WordsAreNamedWithTheKey) {
  EXPECT_EQ(augmentation_of("none", "data.augment"), Augmentation::none);
  EXPECT_EQ(bad_images_of("skip", "data.bad"), BadImages::skip);
  expect_input_error([] { augmentation_of("flips", "data.augment"); },
                     {"data.augment = flips", "crop_flip"});
  expect_input_error([] { bad_images_of("drop", "data.bad"); },
                     {"data.bad = drop", "skip"});
  ImageOptions options;
  options.source = "no-such-images";
  expect_input_error([&] { open_images(options); },
                     {"no-such-images", "fashion-mnist"});
  options.source = "glyhps";
  expect_input_error([&] { open_images(options); },
                     {"glyhps", "did you mean glyphs?"});
}

}  // namespace
}  // namespace mumoe::data

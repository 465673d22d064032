#include "data/images/image_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/fetch.h"
#include "data/images/file_samples.h"
#include "data/images/file_tree.h"
#include "data/images/idx.h"
#include "data/images/idx_samples.h"
#include "data/workers.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

/// Side of what models see of files unless it is said, as in ImageNet's runs.
constexpr std::int64_t kSizeOfFiles = 224;

std::vector<std::string> fashion_names() {
  return {"T-shirt/top",
          "Trouser",
          "Pullover",
          "Dress",
          "Coat",
          "Sandal",
          "Shirt",
          "Sneaker",
          "Bag",
          "Ankle boot"};
}

std::vector<std::string> digits(std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

/// What the labels of both sets have to be below: as many as there are names,
/// else what the largest of the training set says.
std::int64_t classes_of(const IdxImages& train, ImageData& data) {
  if (data.class_names.empty()) {
    data.class_names = digits(1 + *std::ranges::max_element(train.labels));
  }
  std::vector<std::int64_t> count(data.class_names.size());
  for (const std::uint8_t label : train.labels) ++count[label];
  const auto none = std::ranges::find(count, 0);
  if (none != count.end()) {
    data.notes.push_back(fmt::format("{}: no training image has label {}",
                                     data.name,
                                     none - count.begin()));
  }
  return std::ssize(data.class_names);
}

IdxPair pair_in(const fs::path& folder, const std::vector<std::string>& parts) {
  IdxPair pair = find_idx_pair(folder, parts);
  require(!pair.images.empty(),
          "{}: no {}-images-idx3-ubyte; expected it or the same with .gz",
          folder.string(),
          fmt::join(parts, "- or "));
  return pair;
}

ImageData open_idx(const ImageOptions& options,
                   const fs::path& folder,
                   std::vector<std::string> names) {
  ImageData data;
  data.name = options.source;
  data.class_names = std::move(names);
  const IdxPair of_train = pair_in(folder, {"train"});
  const IdxPair of_val = pair_in(folder, {"t10k", "test", "val"});
  IdxImages train = read_idx_images(of_train.images,
                                    of_train.labels,
                                    std::ssize(data.class_names));
  data.classes = classes_of(train, data);
  IdxImages val = read_idx_images(of_val.images, of_val.labels, data.classes);
  require(train.height == train.width,
          "{}: images of {} x {}; expected square ones",
          of_train.images.string(),
          train.height,
          train.width);
  require(val.height == train.height && val.width == train.width,
          "{}: images of {} x {}; expected {} x {}, as in {}",
          of_val.images.string(),
          val.height,
          val.width,
          train.height,
          train.width,
          of_train.images.filename().string());
  require(options.size == 0 || options.size == train.height,
          "{}: images of {} x {}; expected {} x {}",
          of_train.images.string(),
          train.height,
          train.width,
          options.size,
          options.size);
  require(
      options.augment != Augmentation::imagenet,
      "{}: augmentation imagenet; expected automatic, none or crop_flip for "
      "idx files",
      data.name);
  data.channels = 1;
  data.size = train.height;
  data.train_hash = train.hash;
  data.val_hash = val.hash;
  const GreyStatistics statistics = statistics_of(train);
  const auto workers = std::make_shared<Workers>(options.threads);
  std::optional<std::uint64_t> seed = options.seed;
  if (options.augment == Augmentation::none) seed.reset();
  data.train =
      std::make_unique<IdxSamples>(std::move(train), statistics, seed, workers);
  data.val = std::make_unique<IdxSamples>(std::move(val),
                                          statistics,
                                          std::nullopt,
                                          workers);
  return data;
}

ImageData open_files(const ImageOptions& options, const fs::path& folder) {
  const auto workers = std::make_shared<Workers>(options.threads);
  FileTree train =
      find_image_files(folder / "train", {}, options.bad, *workers);
  FileTree val =
      find_image_files(folder / "val", train.classes, options.bad, *workers);
  ImageData data;
  data.name = options.source;
  data.class_names = train.classes;
  data.classes = std::ssize(train.classes);
  data.channels = 3;
  data.size = options.size == 0 ? kSizeOfFiles : options.size;
  data.train_hash = train.hash;
  data.val_hash = val.hash;
  data.notes = train.notes;
  data.notes.insert(data.notes.end(), val.notes.begin(), val.notes.end());
  const auto augment = options.augment == Augmentation::automatic
                           ? Augmentation::imagenet
                           : options.augment;
  data.train = std::make_unique<FileSamples>(std::move(train),
                                             data.size,
                                             augment,
                                             options.seed,
                                             workers);
  data.val = std::make_unique<FileSamples>(std::move(val),
                                           data.size,
                                           Augmentation::none,
                                           options.seed,
                                           workers);
  return data;
}

}  // namespace

ImageData open_images(const ImageOptions& options) {
  require(options.size >= 0 && options.size <= 4096,
          "images of {} pixels: expected 0 to 4096",
          options.size);
  if (options.source == "fashion-mnist") {
    return open_idx(options,
                    fetch(find_package("fashion-mnist"), cache_folder()),
                    fashion_names());
  }
  const fs::path folder = options.source;
  std::error_code error;
  require(
      fs::is_directory(folder, error),
      "images {}: no such folder; expected fashion-mnist, a folder with idx "
      "files, or one with the folders train and val",
      options.source);
  if (fs::is_directory(folder / "train", error)) {
    require(fs::is_directory(folder / "val", error),
            "{}: a folder train and no folder val; expected both",
            options.source);
    return open_files(options, folder);
  }
  return open_idx(options, folder, {});
}

ImageShape image_shape(const std::string& source) {
  if (source == "fashion-mnist") return {28, 1, 10};
  const fs::path folder = source;
  std::error_code error;
  try {
    if (fs::is_directory(folder / "train", error)) {
      return {kSizeOfFiles, 3, std::ssize(class_folders(folder / "train"))};
    }
    const IdxPair train = find_idx_pair(folder, {"train"});
    if (train.images.empty()) return {};
    const auto dims = read_idx_dims(train.images);
    const IdxArray labels = read_idx(train.labels);
    if (dims.size() != 3 || labels.bytes.empty()) return {};
    return {dims[1], 1, 1 + *std::ranges::max_element(labels.bytes)};
  } catch (const InputError&) {
    return {};
  }
}

Augmentation augmentation_of(const std::string& text, const std::string& key) {
  if (text == "automatic") return Augmentation::automatic;
  if (text == "none") return Augmentation::none;
  if (text == "crop_flip") return Augmentation::crop_flip;
  if (text == "imagenet") return Augmentation::imagenet;
  fail<InputError>("{} = {}: expected automatic, none, crop_flip or imagenet",
                   key,
                   text);
}

BadImages bad_images_of(const std::string& text, const std::string& key) {
  if (text == "refuse") return BadImages::refuse;
  if (text == "skip") return BadImages::skip;
  fail<InputError>("{} = {}: expected refuse or skip", key, text);
}

}  // namespace mumoe::data

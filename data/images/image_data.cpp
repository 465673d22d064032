#include "data/images/image_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "data/images/celeba.h"
#include "data/images/file_samples.h"
#include "data/images/file_tree.h"
#include "data/images/idx.h"
#include "data/images/idx_samples.h"
#include "data/images/named_images.h"
#include "data/workers.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

/// Side of what models see of files unless it is said, as in ImageNet's runs.
constexpr std::int64_t kSizeOfFiles = 224;

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

/// Makes an attribute the label of each image.
void take_target(const std::string& target,
                 const std::string& source,
                 IdxImages& images) {
  require(!images.attributes.empty(),
          "data.target = {}: {} has no attributes; expected {}",
          target,
          source,
          kClassTarget);
  const std::size_t place = images.attributes.find(target, "data.target");
  for (std::size_t i = 0; i < images.labels.size(); ++i) {
    images.labels[i] = images.attributes.at(i, place);
  }
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::error_code error;
  const fs::path path = folder / kClassNames;
  if (!fs::exists(path, error)) return {};
  return read_names(path);
}

/// The images of both parts, and the files they are of.
struct IdxParts {
  IdxPair of_train, of_val;
  IdxImages train, val;
};

/// Throws where they are no squares, of two shapes, or not as is asked for.
void check_shapes(const IdxParts& parts, const ImageOptions& options) {
  const IdxImages& train = parts.train;
  const IdxImages& val = parts.val;
  require(train.height == train.width,
          "{}: images of {} x {}; expected square ones",
          parts.of_train.images.string(),
          train.height,
          train.width);
  require(val.height == train.height && val.width == train.width &&
              val.channels == train.channels,
          "{}: images of {} x {} x {}; expected {} x {} x {}, as in {}",
          parts.of_val.images.string(),
          val.height,
          val.width,
          val.channels,
          train.height,
          train.width,
          train.channels,
          parts.of_train.images.filename().string());
  require(options.size == 0 || options.size == train.height,
          "{}: images of {} x {}; expected {} x {}",
          parts.of_train.images.string(),
          train.height,
          train.width,
          options.size,
          options.size);
  require(
      options.augment != Augmentation::imagenet &&
          options.augment != Augmentation::resized_crop,
      "{}: augmentation {}; expected automatic, none or crop_flip for idx "
      "files",
      options.source,
      options.augment == Augmentation::imagenet ? "imagenet" : "resized_crop");
}

/// Files of idx images; `names`: of the classes, where the folder does not say.
ImageData open_idx(const ImageOptions& options,
                   const fs::path& folder,
                   std::vector<std::string> names = {}) {
  ImageData data;
  data.name = options.source;
  data.class_names = names.empty() ? names_in(folder) : std::move(names);
  IdxParts parts{pair_in(folder, {"train"}),
                 pair_in(folder, {"t10k", "test", "val"}),
                 {},
                 {}};
  auto& [of_train, of_val, train, val] = parts;
  train = read_idx_images(of_train, std::ssize(data.class_names));
  data.classes = classes_of(train, data);
  val = read_idx_images(of_val, data.classes);
  if (options.target != kClassTarget) {
    take_target(options.target, data.name, train);
    take_target(options.target, data.name, val);
    data.class_names = classes_of_attribute(options.target);
    data.classes = 2;
  }
  check_shapes(parts, options);
  data.channels = train.channels;
  data.size = train.height;
  data.train_hash = train.hash;
  data.val_hash = val.hash;
  const auto statistics = statistics_of(train);
  for (const ChannelStatistics& channel : statistics) {
    data.mean.push_back(channel.mean);
    data.deviation.push_back(channel.deviation);
  }
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

/// Samples that are files.
ImageData open_trees(const ImageOptions& options,
                     Augmentation automatic,
                     FileTree train,
                     FileTree val,
                     const std::shared_ptr<Workers>& workers) {
  ImageData data;
  data.name = options.source;
  data.class_names = train.classes;
  data.classes = std::ssize(train.classes);
  data.channels = 3;
  const auto& mean = mean_of(options.normalisation);
  const auto& deviation = deviation_of(options.normalisation);
  data.mean.assign(mean.begin(), mean.end());
  data.deviation.assign(deviation.begin(), deviation.end());
  data.size = options.size == 0 ? kSizeOfFiles : options.size;
  data.train_hash = train.hash;
  data.val_hash = val.hash;
  data.notes = train.notes;
  data.notes.insert(data.notes.end(), val.notes.begin(), val.notes.end());
  const auto augment =
      options.augment == Augmentation::automatic ? automatic : options.augment;
  data.train = std::make_unique<FileSamples>(std::move(train),
                                             data.size,
                                             augment,
                                             options.seed,
                                             workers,
                                             options.normalisation);
  data.val = std::make_unique<FileSamples>(std::move(val),
                                           data.size,
                                           Augmentation::none,
                                           options.seed,
                                           workers,
                                           options.normalisation);
  return data;
}

ImageData open_files(const ImageOptions& options, const fs::path& folder) {
  require(options.target == kClassTarget,
          "data.target = {}: {} has no attributes; expected {}",
          options.target,
          options.source,
          kClassTarget);
  const auto workers = std::make_shared<Workers>(options.threads);
  FileTree train =
      find_image_files(folder / "train", {}, options.bad, *workers);
  FileTree val =
      find_image_files(folder / "val", train.classes, options.bad, *workers);
  return open_trees(options,
                    Augmentation::imagenet,
                    std::move(train),
                    std::move(val),
                    workers);
}

ImageData open_attributes(const ImageOptions& options, const fs::path& folder) {
  const auto workers = std::make_shared<Workers>(options.threads);
  AttributeTrees trees =
      read_attribute_folder(folder, options.target, options.bad, *workers);
  ImageData data = open_trees(options,
                              Augmentation::crop_flip,
                              std::move(trees.train),
                              std::move(trees.val),
                              workers);
  if (!trees.test.files.empty()) {
    data.test = std::make_unique<FileSamples>(std::move(trees.test),
                                              data.size,
                                              Augmentation::none,
                                              options.seed,
                                              workers,
                                              options.normalisation);
  }
  return data;
}

ImageData open_folder(const ImageOptions& options, const fs::path& folder) {
  std::error_code error;
  require(fs::is_directory(folder, error),
          "images {}: no such folder{}; expected {}, a folder with idx files, "
          "one with the folders train and val, or one of CelebA's form",
          options.source,
          nearest_images(options.source),
          image_names());
  if (has_attribute_lists(folder)) return open_attributes(options, folder);
  if (fs::is_directory(folder / "train", error)) {
    require(fs::is_directory(folder / "val", error),
            "{}: a folder train and no folder val; expected both",
            options.source);
    return open_files(options, folder);
  }
  return open_idx(options, folder);
}

ImageShape shape_of(const fs::path& folder) {
  std::error_code error;
  if (has_attribute_lists(folder)) return {kSizeOfFiles, 3, 2};
  if (fs::is_directory(folder / "train", error)) {
    return {kSizeOfFiles, 3, std::ssize(class_folders(folder / "train"))};
  }
  const IdxPair train = find_idx_pair(folder, {"train"});
  if (train.images.empty()) return {};
  const auto dims = read_idx_dims(train.images);
  if (dims.size() < 3) return {};
  auto classes = std::ssize(names_in(folder));
  if (classes == 0) {
    const IdxArray labels = read_idx(train.labels);
    if (labels.bytes.empty()) return {};
    classes = 1 + *std::ranges::max_element(labels.bytes);
  }
  return {dims[1], dims.size() == 3 ? 1 : dims[3], classes};
}

}  // namespace

ImageData open_images(const ImageOptions& options) {
  require(options.size >= 0 && options.size <= 4096,
          "images of {} pixels: expected 0 to 4096",
          options.size);
  const NamedImages* named = find_named_images(options.source);
  if (named == nullptr) return open_folder(options, options.source);
  ImageOptions own = options;
  if (own.augment == Augmentation::automatic) own.augment = named->augment;
  if (own.size == 0) own.size = named->shape.size;
  const fs::path folder = named->folder(options.threads);
  ImageData data = named->classes == nullptr
                       ? open_folder(own, folder)
                       : open_idx(own, folder, named->classes());
  if (!named->note.empty()) {
    data.notes.push_back(fmt::format("{}: {}", named->name, named->note));
  }
  return data;
}

ImageShape image_shape(const std::string& source, const std::string& target) {
  ImageShape shape;
  try {
    const NamedImages* named = find_named_images(source);
    shape = named != nullptr ? named->shape : shape_of(source);
  } catch (const InputError&) {
    return {};
  }
  if (target != kClassTarget && shape.classes > 0) shape.classes = 2;
  return shape;
}

Augmentation augmentation_of(const std::string& text, const std::string& key) {
  if (text == "automatic") return Augmentation::automatic;
  if (text == "none") return Augmentation::none;
  if (text == "crop_flip") return Augmentation::crop_flip;
  if (text == "imagenet") return Augmentation::imagenet;
  if (text == "resized_crop") return Augmentation::resized_crop;
  fail<InputError>(
      "{} = {}: expected automatic, none, crop_flip, imagenet or resized_crop",
      key,
      text);
}

BadImages bad_images_of(const std::string& text, const std::string& key) {
  if (text == "refuse") return BadImages::refuse;
  if (text == "skip") return BadImages::skip;
  fail<InputError>("{} = {}: expected refuse or skip", key, text);
}

}  // namespace mumoe::data

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/samples.h"

namespace mumoe::data {

/// What a training image goes through before the model sees it.
enum class Augmentation {
  automatic,  ///< crop_flip for idx files and lists of attributes, imagenet
              ///< for a folder a class; what becomes a named source
  none,       ///< as an evaluation sees it
  crop_flip,  ///< padding by an eighth, a crop of the old size, mirrored or not
  imagenet,   ///< RandomResizedCrop, mirrored or not, RandAugment(2, 15)
  resized_crop,  ///< RandomResizedCrop alone, as published CLIPs were tuned
};

/// Whose mean and deviation files of images are normalised by; idx files have
/// their own.
enum class Normalisation { imagenet, clip };

/// What to do with files that cannot be decoded.
enum class BadImages {
  refuse,  ///< One that a batch needs is an error there.
  skip,  ///< All are decoded once when the data is opened; those are left out.
};

inline constexpr std::string_view kClassTarget = "class";

struct ImageOptions {
  /// A name (named_images.h); a folder with idx files, as of MNIST; one with
  /// the folders train and val, which hold a folder of files (.JPEG, .jpg,
  /// .jpeg, .png, in any case) a class; or one of CelebA's form (celeba.h).
  std::string source;
  /// What is to be told of an image: its class, or whether an attribute of that
  /// name is true of it (classes 0 and 1), which is all there is of CelebA's
  /// form.
  std::string target = std::string(kClassTarget);
  /// Side in pixels of what the model sees; 0: as they are (idx files), 224.
  std::int64_t size = 0;
  Augmentation augment = Augmentation::automatic;
  Normalisation normalisation = Normalisation::imagenet;
  BadImages bad = BadImages::refuse;
  std::uint64_t seed = 0;  ///< Of the augmentation.
  int threads = 1;         ///< That make a batch, and look through folders.
};

/// Images to learn from. A batch's input is [n, channels, size, size] floats,
/// (value / 255 - mean) / deviation of each channel, its target n labels. The
/// look of training image i is a function of (seed, i), whatever the threads.
///
/// `Samples::attributes` says what is known of each image (data/attributes.h).
struct ImageData {
  std::unique_ptr<Samples> train;
  std::unique_ptr<Samples> val;
  std::unique_ptr<Samples> test;  ///< Null where there are two parts.
  std::int64_t classes = 0;
  std::int64_t channels = 0;
  std::int64_t size = 0;
  std::vector<float> mean, deviation;  ///< Of each channel, see above.
  /// One a class: what the source says, or "0", "1", ...
  std::vector<std::string> class_names;
  std::string name;        ///< Of the source, for people.
  std::string train_hash;  ///< Of what the images are read from, hexadecimal.
  std::string val_hash;
  std::vector<std::string> notes;  ///< What is odd but used, one line each.
};

/// Opens the images of `options.source`, fetching a published set at first use.
/// Says on stderr how far it is with a folder of many files. Throws
/// `InputError`, one line, naming the file.
ImageData open_images(const ImageOptions& options);

/// Of images; 0 is what is not known.
struct ImageShape {
  std::int64_t size = 0;  ///< Side in pixels of what the model sees.
  std::int64_t channels = 0;
  std::int64_t classes = 0;
};

/// The shape of what `open_images` would open of `source`, without a look at
/// the images: a named set's; what the heads of idx files and classes.txt or
/// the labels of training say; of files 224 pixels, 3 channels and as many
/// classes as there are folders for training. An attribute as `target` makes 2
/// classes. All 0 where there are none of these or they cannot be read:
/// `open_images` says why.
ImageShape image_shape(const std::string& source,
                       const std::string& target = std::string(kClassTarget));

/// "automatic", "none", "crop_flip", "imagenet" or "resized_crop" ("refuse" or
/// "skip"). Throws `InputError` that names `key`.
Augmentation augmentation_of(const std::string& text, const std::string& key);
BadImages bad_images_of(const std::string& text, const std::string& key);

}  // namespace mumoe::data

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/attributes.h"
#include "data/features/feature_file.h"
#include "data/samples.h"

namespace mumoe::data {

/// What features.json says of a folder of features: numbers that a frozen model
/// made of images, once.
struct FeatureFacts {
  std::string source;    ///< data.source of the images.
  std::string backbone;  ///< What made them, in words.
  /// Of its weights; hexadecimal, empty: not known.
  std::string backbone_hash;
  std::int64_t image_size = 0;  ///< Side of what the backbone saw.
  std::int64_t width = 0;
  std::vector<std::string> class_names;
  std::vector<std::string> attributes = {};  ///< Names; empty: none are known.
  struct Split {
    std::int64_t samples = 0;
    std::int64_t of = 0;      ///< Images that the set has.
    std::string images_hash;  ///< As of `ImageData`.
    std::string sha256;       ///< Of the file.
  };
  Split train, val;
};

/// Samples that are rows of a file: input fp32 [width], target the label.
class FeatureSamples final : public Samples {
 public:
  /// `names`: of the file's attributes.
  FeatureSamples(std::shared_ptr<const FeatureFile> file,
                 const std::vector<std::string>& names);

  std::uint64_t size() const override {
    return static_cast<std::uint64_t>(file_->size());
  }
  std::int64_t targets_per_sample() const override { return 1; }
  HostBatch make(std::span<const std::uint64_t> indices) const override;
  const Attributes* attributes() const override {
    return attributes_.empty() ? nullptr : &attributes_;
  }
  /// The number in its set of the image that sample `index` is of.
  std::int64_t image(std::uint64_t index) const {
    return file_->image(static_cast<std::int64_t>(index % size()));
  }

 private:
  std::shared_ptr<const FeatureFile> file_;
  Attributes attributes_;
};

/// A folder of features: features.json, train.safetensors and val.safetensors.
struct FeatureData {
  std::string name;  ///< Of the folder, as it was asked for.
  FeatureFacts facts;
  std::unique_ptr<FeatureSamples> train;
  std::unique_ptr<FeatureSamples> val;
};

/// Whether `folder` has a features.json.
bool is_feature_folder(const std::string& folder);

/// Opens a folder. Throws `InputError`, one line, naming the file: none of
/// these files, or one that is damaged or does not fit features.json (its
/// width, rows, labels or hash).
FeatureData open_features(const std::string& folder);

/// What features.json says. Throws `InputError` naming the file and what is
/// wrong with it.
FeatureFacts read_feature_facts(const std::filesystem::path& folder);

/// Writes features.json, atomically.
void write_feature_facts(const std::filesystem::path& folder,
                         const FeatureFacts& facts);

/// Of a folder's features, 0 where it is none or cannot be read:
/// `open_features` says why.
struct FeatureShape {
  std::int64_t width = 0;
  std::int64_t classes = 0;
};
FeatureShape feature_shape(const std::string& source);

}  // namespace mumoe::data

#include "launch/expert_material.h"

#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/features/feature_data.h"
#include "data/images/image_data.h"
#include "data/text/tokenizer.h"
#include "launch/run_data.h"
#include "model/families.h"

namespace mumoe::launch {
namespace {

/// The images that rows of features are of.
class ImagesOfFeatures final : public data::Samples {
 public:
  ImagesOfFeatures(std::shared_ptr<const data::FeatureSamples> features,
                   std::shared_ptr<const data::Samples> images)
      : features_(std::move(features)), images_(std::move(images)) {}

  std::uint64_t size() const override { return features_->size(); }
  std::int64_t targets_per_sample() const override { return 1; }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override {
    std::vector<std::uint64_t> images;
    for (const std::uint64_t index : indices) {
      images.push_back(static_cast<std::uint64_t>(features_->image(index)));
    }
    return images_->make(images);
  }

 private:
  std::shared_ptr<const data::FeatureSamples> features_;
  std::shared_ptr<const data::Samples> images_;
};

/// Adds the images of features; leaves out what cannot be opened or is not what
/// the features were made of.
void add_pictures(study::Material& material,
                  const run::Options& options,
                  const StudyData& data) {
  const auto features =
      std::dynamic_pointer_cast<const data::FeatureSamples>(data.samples);
  if (!features) return;
  try {
    const data::FeatureFacts facts =
        data::read_feature_facts(data.facts.source);
    data::ImageOptions wanted = image_options(options);
    wanted.source = facts.source;
    wanted.size = 0;
    wanted.augment = data::Augmentation::none;
    data::ImageData images = data::open_images(wanted);
    const bool train = data.part == "training";
    const auto& split = train ? facts.train : facts.val;
    if (split.images_hash != (train ? images.train_hash : images.val_hash)) {
      return;
    }
    material.images = {.side = images.size,
                       .channels = images.channels,
                       .class_names = facts.class_names};
    material.pictures = std::make_shared<ImagesOfFeatures>(
        features,
        std::shared_ptr<const data::Samples>(
            std::move(train ? images.train : images.val)));
  } catch (const InputError&) {
    // Nothing to see then; the numbers are the same.
  }
}

}  // namespace

study::Material expert_material(const run::Options& options,
                                const StudyData& data) {
  study::Material material;
  material.samples = data.samples;
  switch (model::family(options.family).learns_from) {
    case model::LearnsFrom::tokens:
      material.tokenizer = data::make_tokenizer(options.tokenizer);
      break;
    case model::LearnsFrom::images:
      material.pictures = data.samples;
      material.images = {.side = options.model.image_size,
                         .channels = options.model.channels,
                         .patch = options.model.patch,
                         .class_names = data.facts.class_names};
      break;
    case model::LearnsFrom::features:
      add_pictures(material, options, data);
      break;
  }
  return material;
}

}  // namespace mumoe::launch

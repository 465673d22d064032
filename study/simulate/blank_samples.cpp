#include "study/simulate/blank_samples.h"

#include <vector>

namespace mumoe::study {
namespace {

/// Numbers of a sample.
std::int64_t inputs_of(const model::Family& family,
                       const model::ModelConfig& config) {
  switch (family.learns_from) {
    case model::LearnsFrom::tokens:
      break;
    case model::LearnsFrom::images:
      return config.channels * config.image_size * config.image_size;
    case model::LearnsFrom::features:
      return config.features;
  }
  return config.context;
}

}  // namespace

BlankSamples::BlankSamples(const model::Family& family,
                           const model::ModelConfig& config)
    : images_(family.learns_from != model::LearnsFrom::tokens),
      inputs_(inputs_of(family, config)),
      targets_(images_ ? 1 : config.context) {}

data::HostBatch BlankSamples::make(
    std::span<const std::uint64_t> indices) const {
  const std::size_t rows = indices.size();
  const std::size_t inputs = rows * static_cast<std::size_t>(inputs_);
  data::HostBatch batch;
  batch.samples = static_cast<std::int64_t>(rows);
  if (images_) {
    batch.input = std::vector<float>(inputs);
  } else {
    batch.input = std::vector<std::int32_t>(inputs);
  }
  batch.target =
      std::vector<std::int32_t>(rows * static_cast<std::size_t>(targets_));
  return batch;
}

}  // namespace mumoe::study

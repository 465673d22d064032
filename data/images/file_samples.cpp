#include "data/images/file_samples.h"

#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/purposes.h"
#include "data/images/decode.h"
#include "data/images/looks.h"
#include "data/images/rand_augment.h"

namespace mumoe::data {
namespace {

Resampling look_of(Augmentation augment,
                   const CounterRandom& random,
                   const ImageFile& file,
                   int side) {
  switch (augment) {
    case Augmentation::imagenet:
      return random_look(random, file.width(), file.height(), side);
    case Augmentation::resized_crop: {
      Resampling look = random_look(random, file.width(), file.height(), side);
      look.mirror = false;
      return look;
    }
    case Augmentation::crop_flip:
      return shifted_look(random, file.width(), file.height(), side);
    default:
      return central_look(file.width(), file.height(), side);
  }
}

}  // namespace

const std::array<float, 3>& mean_of(Normalisation normalisation) {
  return normalisation == Normalisation::clip ? kClipMean : kImageNetMean;
}

const std::array<float, 3>& deviation_of(Normalisation normalisation) {
  return normalisation == Normalisation::clip ? kClipDeviation
                                              : kImageNetDeviation;
}

FileSamples::FileSamples(FileTree tree,
                         std::int64_t size,
                         Augmentation augment,
                         std::uint64_t seed,
                         std::shared_ptr<Workers> workers,
                         Normalisation normalisation)
    : tree_(std::move(tree)),
      side_(static_cast<int>(size)),
      augment_(augment),
      seed_(seed),
      workers_(std::move(workers)) {
  require(!tree_.files.empty(),
          "{}: no images; expected some",
          tree_.root.string());
  const auto& mean = mean_of(normalisation);
  const auto& deviation = deviation_of(normalisation);
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t v = 0; v < 256; ++v) {
      value_[c][v] = (static_cast<float>(v) / 255.0f - mean[c]) / deviation[c];
    }
  }
}

void FileSamples::draw(std::uint64_t index, float* to) const {
  const auto path = tree_.root / tree_.files[index % size()].path;
  const std::string bytes = read_file(path);
  ImageFile file(path, bytes);
  const CounterRandom random(seed_, kAugmentation, index);
  const Resampling look = look_of(augment_, random, file, side_);
  const Decoded decoded =
      file.decode(look.source(file.width(), file.height()), side_);
  Pixels pixels = resample(decoded, look);
  if (augment_ == Augmentation::imagenet) {
    rand_augment(random, kDrawsOfLooks, pixels);
  }
  const std::size_t plane = static_cast<std::size_t>(side_) * side_;
  for (std::size_t i = 0; i < plane; ++i) {
    const std::uint8_t* pixel = pixels.data() + i * Pixels::kBytes;
    to[i] = value_[0][pixel[0]];
    to[plane + i] = value_[1][pixel[1]];
    to[2 * plane + i] = value_[2][pixel[2]];
  }
}

HostBatch FileSamples::make(std::span<const std::uint64_t> indices) const {
  const std::size_t numbers = std::size_t{3} * side_ * side_;
  std::vector<float> input(indices.size() * numbers);
  std::vector<std::int32_t> target(indices.size());
  workers_->for_each(indices.size(), [&](std::size_t row) {
    draw(indices[row], input.data() + row * numbers);
    target[row] = tree_.files[indices[row] % size()].label;
  });
  return {static_cast<std::int64_t>(indices.size()),
          std::move(input),
          std::move(target)};
}

}  // namespace mumoe::data

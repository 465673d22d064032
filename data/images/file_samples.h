#pragma once

#include <array>
#include <memory>
#include <optional>

#include "data/images/file_tree.h"
#include "data/samples.h"
#include "data/workers.h"

namespace mumoe::data {

/// Mean and deviation of ImageNet's red, green and blue, as parts of 255: what
/// published models were trained with.
inline constexpr std::array<float, 3> kImageNetMean = {0.485f, 0.456f, 0.406f};
inline constexpr std::array<float, 3> kImageNetDeviation = {0.229f,
                                                            0.224f,
                                                            0.225f};

/// Those of what CLIP (arXiv 2103.00020) was trained with.
inline constexpr std::array<float, 3> kClipMean = {0.48145466f,
                                                   0.4578275f,
                                                   0.40821073f};
inline constexpr std::array<float, 3> kClipDeviation = {0.26862954f,
                                                        0.26130258f,
                                                        0.27577711f};

const std::array<float, 3>& mean_of(Normalisation normalisation);
const std::array<float, 3>& deviation_of(Normalisation normalisation);

/// Samples that are image files, [3, size, size] each, decoded when a batch
/// needs them. A file that cannot be is then an `InputError` that names it.
class FileSamples final : public Samples {
 public:
  /// `augment` says how they look; `none`: as evaluations look.
  FileSamples(FileTree tree,
              std::int64_t size,
              Augmentation augment,
              std::uint64_t seed,
              std::shared_ptr<Workers> workers,
              Normalisation normalisation = Normalisation::imagenet);

  std::uint64_t size() const override { return tree_.files.size(); }
  std::int64_t targets_per_sample() const override { return 1; }
  HostBatch make(std::span<const std::uint64_t> indices) const override;
  const Attributes* attributes() const override {
    return tree_.attributes.empty() ? nullptr : &tree_.attributes;
  }

 private:
  void draw(std::uint64_t index, float* to) const;

  FileTree tree_;
  int side_;
  Augmentation augment_;
  std::uint64_t seed_;
  std::array<std::array<float, 256>, 3> value_;  ///< What each byte becomes.
  std::shared_ptr<Workers> workers_;
};

}  // namespace mumoe::data

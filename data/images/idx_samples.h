#pragma once

#include <memory>
#include <optional>

#include "data/images/idx.h"
#include "data/samples.h"
#include "data/workers.h"

namespace mumoe::data {

/// Mean and deviation of the values of all images, as parts of 255.
struct GreyStatistics {
  float mean = 0;
  float deviation = 1;
};
GreyStatistics statistics_of(const IdxImages& images);

/// Samples that are images in memory, [1, size, size] each. With a seed they
/// are padded by an eighth of black on each side, cropped to their size and
/// mirrored, or not, as a function of (seed, index).
class IdxSamples final : public Samples {
 public:
  IdxSamples(IdxImages images,
             GreyStatistics statistics,
             std::optional<std::uint64_t> seed,
             std::shared_ptr<Workers> workers);

  std::uint64_t size() const override {
    return static_cast<std::uint64_t>(images_.count);
  }
  std::int64_t targets_per_sample() const override { return 1; }
  HostBatch make(std::span<const std::uint64_t> indices) const override;

 private:
  void draw(std::uint64_t index, float* to) const;

  IdxImages images_;
  std::vector<float> value_;  ///< What each of 256 bytes becomes.
  std::optional<std::uint64_t> seed_;
  std::shared_ptr<Workers> workers_;
};

}  // namespace mumoe::data

#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "data/images/idx.h"
#include "data/samples.h"
#include "data/workers.h"

namespace mumoe::data {

/// Mean and deviation of the values of a channel, as parts of 255.
struct ChannelStatistics {
  float mean = 0;
  float deviation = 1;
};
/// Of all images, one a channel.
std::vector<ChannelStatistics> statistics_of(const IdxImages& images);

/// Samples that are images in memory, [channels, size, size] each. With a seed
/// they are padded by an eighth of black on each side, cropped to their size
/// and mirrored, or not, as a function of (seed, index).
class IdxSamples final : public Samples {
 public:
  IdxSamples(IdxImages images,
             const std::vector<ChannelStatistics>& statistics,
             std::optional<std::uint64_t> seed,
             std::shared_ptr<Workers> workers);

  std::uint64_t size() const override {
    return static_cast<std::uint64_t>(images_.count);
  }
  std::int64_t targets_per_sample() const override { return 1; }
  HostBatch make(std::span<const std::uint64_t> indices) const override;
  const Attributes* attributes() const override {
    return images_.attributes.empty() ? nullptr : &images_.attributes;
  }

 private:
  void draw(std::uint64_t index, float* to) const;

  IdxImages images_;
  /// What each of 256 bytes becomes, of each channel.
  std::vector<std::array<float, 256>> value_;
  std::optional<std::uint64_t> seed_;
  std::shared_ptr<Workers> workers_;
};

}  // namespace mumoe::data

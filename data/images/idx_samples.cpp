#include "data/images/idx_samples.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/purposes.h"

namespace mumoe::data {
namespace {

/// Numbers of the random draws of one image.
enum Draw : std::uint64_t { kRow, kColumn, kMirror };

}  // namespace

std::vector<ChannelStatistics> statistics_of(const IdxImages& images) {
  const auto channels = static_cast<std::size_t>(images.channels);
  std::vector<ChannelStatistics> all;
  for (std::size_t channel = 0; channel < channels; ++channel) {
    std::uint64_t sum = 0;
    std::uint64_t squares = 0;
    for (std::size_t i = channel; i < images.pixels.size(); i += channels) {
      const std::uint64_t v = images.pixels[i];
      sum += v;
      squares += v * v;
    }
    const auto n = static_cast<double>(images.pixels.size() / channels);
    const double mean = static_cast<double>(sum) / n;
    const double variance = static_cast<double>(squares) / n - mean * mean;
    // Images of one colour stay as they are.
    const double deviation = variance > 0 ? std::sqrt(variance) : 255.0;
    all.push_back(
        {static_cast<float>(mean / 255), static_cast<float>(deviation / 255)});
  }
  return all;
}

IdxSamples::IdxSamples(IdxImages images,
                       const std::vector<ChannelStatistics>& statistics,
                       std::optional<std::uint64_t> seed,
                       std::shared_ptr<Workers> workers)
    : images_(std::move(images)),
      value_(statistics.size()),
      seed_(seed),
      workers_(std::move(workers)) {
  MUMOE_CHECK(std::ssize(statistics) == images_.channels);
  for (std::size_t channel = 0; channel < statistics.size(); ++channel) {
    const auto& [mean, deviation] = statistics[channel];
    for (std::size_t v = 0; v < 256; ++v) {
      value_[channel][v] = (static_cast<float>(v) / 255.0f - mean) / deviation;
    }
  }
}

void IdxSamples::draw(std::uint64_t index, float* to) const {
  const std::int64_t height = images_.height;
  const std::int64_t width = images_.width;
  std::int64_t down = 0;
  std::int64_t right = 0;
  bool mirror = false;
  if (seed_) {
    const CounterRandom random(*seed_, kAugmentation, index);
    const auto shift = [&](Draw draw, std::int64_t side) {
      const std::int64_t padding = side / 8;
      return static_cast<std::int64_t>(
                 random.below(draw,
                              static_cast<std::uint64_t>(2 * padding + 1))) -
             padding;
    };
    down = shift(kRow, height);
    right = shift(kColumn, width);
    mirror = random.below(kMirror, 2) == 1;
  }
  const std::int64_t channels = images_.channels;
  const std::uint8_t* from =
      images_.pixels.data() + index % size() * height * width * channels;
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    const auto& value = value_[static_cast<std::size_t>(channel)];
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x) {
        const std::int64_t row = y + down;
        const std::int64_t column = (mirror ? width - 1 - x : x) + right;
        const bool inside =
            row >= 0 && row < height && column >= 0 && column < width;
        *to++ = value[inside ? from[(row * width + column) * channels + channel]
                             : 0];
      }
    }
  }
}

HostBatch IdxSamples::make(std::span<const std::uint64_t> indices) const {
  const std::size_t pixels = static_cast<std::size_t>(
      images_.height * images_.width * images_.channels);
  std::vector<float> input(indices.size() * pixels);
  std::vector<std::int32_t> target(indices.size());
  // Small images: a thread takes some at a time.
  constexpr std::size_t kPiece = 16;
  workers_->for_each(
      (indices.size() + kPiece - 1) / kPiece,
      [&](std::size_t piece) {
        const std::size_t end = std::min((piece + 1) * kPiece, indices.size());
        for (std::size_t row = piece * kPiece; row < end; ++row) {
          draw(indices[row], input.data() + row * pixels);
          target[row] = images_.labels[indices[row] % size()];
        }
      });
  return {static_cast<std::int64_t>(indices.size()),
          std::move(input),
          std::move(target)};
}

}  // namespace mumoe::data

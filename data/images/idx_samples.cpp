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

GreyStatistics statistics_of(const IdxImages& images) {
  std::uint64_t sum = 0;
  std::uint64_t squares = 0;
  for (const std::uint8_t v : images.pixels) {
    sum += v;
    squares += static_cast<std::uint64_t>(v) * v;
  }
  const auto n = static_cast<double>(images.pixels.size());
  const double mean = static_cast<double>(sum) / n;
  const double variance = static_cast<double>(squares) / n - mean * mean;
  // Images of one colour stay as they are.
  const double deviation = variance > 0 ? std::sqrt(variance) : 255.0;
  return {static_cast<float>(mean / 255), static_cast<float>(deviation / 255)};
}

IdxSamples::IdxSamples(IdxImages images,
                       GreyStatistics statistics,
                       std::optional<std::uint64_t> seed,
                       std::shared_ptr<Workers> workers)
    : images_(std::move(images)), seed_(seed), workers_(std::move(workers)) {
  for (int v = 0; v < 256; ++v) {
    value_.push_back((static_cast<float>(v) / 255.0f - statistics.mean) /
                     statistics.deviation);
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
  const std::uint8_t* from =
      images_.pixels.data() + index % size() * height * width;
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const std::int64_t row = y + down;
      const std::int64_t column = (mirror ? width - 1 - x : x) + right;
      const bool inside =
          row >= 0 && row < height && column >= 0 && column < width;
      *to++ = value_[inside ? from[row * width + column] : 0];
    }
  }
}

HostBatch IdxSamples::make(std::span<const std::uint64_t> indices) const {
  const std::size_t pixels =
      static_cast<std::size_t>(images_.height * images_.width);
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

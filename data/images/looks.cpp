#include "data/images/looks.h"

#include <algorithm>
#include <cmath>

namespace mumoe::data {
namespace {

constexpr int kTries = 10;
constexpr double kLeastArea = 0.08;
constexpr double kLeastRatio = 3.0 / 4.0;
constexpr double kMostRatio = 4.0 / 3.0;

/// Numbers of draws; those of a try come after, four each.
enum Draw : std::uint64_t { kMirror, kLeft, kTop, kFirstTry };

Region largest_in_the_middle(int width, int height) {
  Region box{0, 0, width, height};
  const double ratio = static_cast<double>(width) / height;
  if (ratio < kLeastRatio) {
    box.height = static_cast<int>(std::lround(width / kLeastRatio));
  } else if (ratio > kMostRatio) {
    box.width = static_cast<int>(std::lround(height * kMostRatio));
  }
  box.width = std::clamp(box.width, 1, width);
  box.height = std::clamp(box.height, 1, height);
  box.left = (width - box.width) / 2;
  box.top = (height - box.height) / 2;
  return box;
}

Region random_box(const CounterRandom& random, int width, int height) {
  const double area = static_cast<double>(width) * height;
  for (std::uint64_t i = 0; i < kTries; ++i) {
    const std::uint64_t draw = kFirstTry + 4 * i;
    const double target =
        area * (kLeastArea + (1 - kLeastArea) * random.uniform(draw));
    const double span = std::log(kMostRatio) - std::log(kLeastRatio);
    const double ratio =
        std::exp(std::log(kLeastRatio) + span * random.uniform(draw + 1));
    const int w = static_cast<int>(std::lround(std::sqrt(target * ratio)));
    const int h = static_cast<int>(std::lround(std::sqrt(target / ratio)));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    const auto place = [&](std::uint64_t at, int room) {
      return static_cast<int>(
          random.below(at, static_cast<std::uint64_t>(room) + 1));
    };
    return {place(draw + 2, width - w), place(draw + 3, height - h), w, h};
  }
  return largest_in_the_middle(width, height);
}

}  // namespace

Resampling random_look(const CounterRandom& random,
                       int width,
                       int height,
                       int size) {
  const Region box = random_box(random, width, height);
  Resampling look;
  look.left = box.left;
  look.top = box.top;
  look.box_width = box.width;
  look.box_height = box.height;
  look.width = look.height = look.size = size;
  look.mirror = random.below(kMirror, 2) == 1;
  return look;
}

Resampling central_look(int width, int height, int size) {
  const int shorter = static_cast<int>(std::lround(size * 8.0 / 7.0));
  const std::int64_t longer =
      std::int64_t{shorter} * std::max(width, height) / std::min(width, height);
  Resampling look;
  look.box_width = width;
  look.box_height = height;
  look.width = width <= height ? shorter : static_cast<int>(longer);
  look.height = width <= height ? static_cast<int>(longer) : shorter;
  look.size = size;
  // Halves to the even number, as torchvision's CenterCrop.
  look.window_left =
      static_cast<int>(std::nearbyint((look.width - size) / 2.0));
  look.window_top =
      static_cast<int>(std::nearbyint((look.height - size) / 2.0));
  return look;
}

Resampling shifted_look(const CounterRandom& random,
                        int width,
                        int height,
                        int size) {
  Resampling look = central_look(width, height, size);
  const auto place = [&](Draw draw, int room) {
    return static_cast<int>(
        random.below(draw, static_cast<std::uint64_t>(room) + 1));
  };
  look.window_left = place(kLeft, look.width - size);
  look.window_top = place(kTop, look.height - size);
  look.mirror = random.below(kMirror, 2) == 1;
  return look;
}

}  // namespace mumoe::data

#include "data/images/rand_augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>
#include <vector>

#include "base/error.h"

namespace mumoe::data {
namespace {

using Table = std::array<std::uint8_t, 256>;
using Tables = std::array<Table, 3>;

std::uint8_t clamped(float value) {
  return static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f));
}

/// Each value becomes what its channel's table says.
void look_up(const Tables& tables, Pixels& picture) {
  std::uint8_t* at = picture.data();
  for (const std::uint8_t* end = at + picture.size(); at < end;
       at += Pixels::kBytes) {
    at[0] = tables[0][at[0]];
    at[1] = tables[1][at[1]];
    at[2] = tables[2][at[2]];
  }
}

template <class Function>
void look_up(const Function& function, Pixels& picture) {
  Table table;
  for (int v = 0; v < 256; ++v) table[v] = function(v);
  look_up(Tables{table, table, table}, picture);
}

/// ratio * picture + (1 - ratio) * other, cut off to whole numbers.
void blend(double ratio, const std::uint8_t* other, Pixels& picture) {
  const auto mine = static_cast<float>(ratio);
  const auto its = static_cast<float>(1 - ratio);
  std::uint8_t* to = picture.data();
  const std::size_t size = picture.size();
  for (std::size_t i = 0; i < size; ++i) {
    const float value =
        mine * static_cast<float>(to[i]) + its * static_cast<float>(other[i]);
    const float low = value < 0.0f ? 0.0f : value;
    to[i] = static_cast<std::uint8_t>(
        static_cast<int>(low > 255.0f ? 255.0f : low));
  }
}

std::uint8_t luminance(const std::uint8_t* pixel) {
  return static_cast<std::uint8_t>(0.2989f * static_cast<float>(pixel[0]) +
                                   0.587f * static_cast<float>(pixel[1]) +
                                   0.114f * static_cast<float>(pixel[2]));
}

void blend_with_grey(double ratio, Pixels& picture) {
  std::vector<std::uint8_t> grey(picture.size());
  for (std::size_t at = 0; at < grey.size(); at += Pixels::kBytes) {
    const std::uint8_t value = luminance(picture.data() + at);
    std::memset(&grey[at], value, Pixels::kBytes);
  }
  blend(ratio, grey.data(), picture);
}

void blend_with_mean(double ratio, Pixels& picture) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < picture.size(); at += Pixels::kBytes) {
    sum += luminance(picture.data() + at);
  }
  const auto mean =
      static_cast<float>(static_cast<double>(sum) /
                         static_cast<double>(picture.size() / Pixels::kBytes));
  const float added = static_cast<float>(1 - ratio) * mean;
  const auto factor = static_cast<float>(ratio);
  look_up(
      [&](int v) { return clamped(factor * static_cast<float>(v) + added); },
      picture);
}

/// Each inner pixel becomes the mean of its neighbours and five times itself.
std::vector<std::uint8_t> smoothed(const Pixels& picture) {
  const std::size_t width =
      static_cast<std::size_t>(picture.width()) * Pixels::kBytes;
  std::vector<std::uint8_t> result(picture.data(),
                                   picture.data() + picture.size());
  std::vector<std::uint16_t> column(width);
  std::array<std::uint8_t, 13 * 255 + 1> thirteenth;
  for (std::size_t sum = 0; sum < thirteenth.size(); ++sum) {
    thirteenth[sum] = static_cast<std::uint8_t>((sum + 6) / 13);
  }
  for (int y = 1; y + 1 < picture.height(); ++y) {
    const std::uint8_t* above = picture.row(y - 1);
    const std::uint8_t* here = picture.row(y);
    const std::uint8_t* below = picture.row(y + 1);
    for (std::size_t i = 0; i < width; ++i) {
      column[i] = static_cast<std::uint16_t>(above[i] + here[i] + below[i]);
    }
    std::uint8_t* to = result.data() + static_cast<std::size_t>(y) * width;
    constexpr std::size_t kNext = Pixels::kBytes;
    for (std::size_t i = kNext; i + kNext < width; ++i) {
      to[i] = thirteenth[static_cast<std::size_t>(
          column[i - kNext] + column[i] + column[i + kNext] + 4 * here[i])];
    }
  }
  return result;
}

void sharpen(double ratio, Pixels& picture) {
  if (picture.width() <= 2 || picture.height() <= 2) return;
  blend(ratio, smoothed(picture).data(), picture);
}

void stretch_contrast(Pixels& picture) {
  std::uint8_t low[4] = {255, 255, 255, 255};
  std::uint8_t high[4] = {};
  for (std::size_t at = 0; at < picture.size(); at += Pixels::kBytes) {
    for (std::size_t c = 0; c < 4; ++c) {
      low[c] = std::min(low[c], picture.data()[at + c]);
      high[c] = std::max(high[c], picture.data()[at + c]);
    }
  }
  Tables tables;
  for (std::size_t c = 0; c < 3; ++c) {
    const bool flat = low[c] == high[c];
    const float unit = static_cast<float>(high[c] - low[c]) / 255.0f;
    for (int v = 0; v < 256; ++v) {
      tables[c][v] = flat ? static_cast<std::uint8_t>(v)
                          : clamped(static_cast<float>(v - low[c]) / unit);
    }
  }
  look_up(tables, picture);
}

/// So that each value is as frequent as any other, as far as may be.
Table equalizing(const std::array<int, 256>& count) {
  Table table;
  int last = 255;
  while (last > 0 && count[last] == 0) --last;
  int total = 0;
  for (const int n : count) total += n;
  const int step = (total - count[last]) / 255;
  int below = 0;
  for (int v = 0; v < 256; ++v) {
    table[v] = static_cast<std::uint8_t>(
        step == 0 ? v : std::min((below + step / 2) / step, 255));
    below += count[v];
  }
  return table;
}

void equalize(Pixels& picture) {
  std::array<std::array<int, 256>, 3> count{};
  for (std::size_t at = 0; at < picture.size(); at += Pixels::kBytes) {
    for (std::size_t c = 0; c < 3; ++c) ++count[c][picture.data()[at + c]];
  }
  look_up(
      Tables{equalizing(count[0]), equalizing(count[1]), equalizing(count[2])},
      picture);
}

/// Where pixel (x, y) of a result comes from: a x + b y + c, d x + e y + f.
struct Affine {
  double a = 1, b = 0, c = 0, d = 0, e = 1, f = 0;
};

void move(const Affine& by, Pixels& picture) {
  Pixels result(picture.width(), picture.height());
  const auto width = static_cast<std::int64_t>(picture.width());
  const auto height = static_cast<std::int64_t>(picture.height());
  for (int y = 0; y < picture.height(); ++y) {
    std::uint8_t* to = result.row(y);
    for (int x = 0; x < picture.width(); ++x, to += Pixels::kBytes) {
      const std::int64_t column = std::llrint(by.a * x + by.b * y + by.c);
      const std::int64_t row = std::llrint(by.d * x + by.e * y + by.f);
      if (column >= 0 && column < width && row >= 0 && row < height) {
        std::memcpy(to,
                    picture.data() + (row * width + column) * Pixels::kBytes,
                    Pixels::kBytes);
      } else {
        std::memset(to, 0, Pixels::kBytes);
      }
    }
  }
  picture = std::move(result);
}

/// Counter-clockwise about the centre.
Affine rotation(double degrees, const Pixels& picture) {
  const double angle = degrees * std::numbers::pi / 180;
  const double cosine = std::cos(angle);
  const double sine = std::sin(angle);
  const double x = (picture.width() - 1) / 2.0;
  const double y = (picture.height() - 1) / 2.0;
  return {cosine,
          -sine,
          x - cosine * x + sine * y,
          sine,
          cosine,
          y - sine * x - cosine * y};
}

}  // namespace

std::string_view to_string(ImageOp op) {
  constexpr std::array<std::string_view, kImageOps> kNames = {"identity",
                                                              "shear_x",
                                                              "shear_y",
                                                              "translate_x",
                                                              "translate_y",
                                                              "rotate",
                                                              "brightness",
                                                              "color",
                                                              "contrast",
                                                              "sharpness",
                                                              "posterize",
                                                              "solarize",
                                                              "auto_contrast",
                                                              "equalize"};
  return kNames[static_cast<std::size_t>(op)];
}

void apply(ImageOp op, double magnitude, Pixels& picture) {
  const double m = magnitude;
  switch (op) {
    case ImageOp::identity:
      return;
    case ImageOp::shear_x:  // about the upper left corner
      return move({1, m, m / 2, 0, 1, 0}, picture);
    case ImageOp::shear_y:
      return move({1, 0, 0, m, 1, m / 2}, picture);
    case ImageOp::translate_x:
      return move({1, 0, -std::trunc(m), 0, 1, 0}, picture);
    case ImageOp::translate_y:
      return move({1, 0, 0, 0, 1, -std::trunc(m)}, picture);
    case ImageOp::rotate:
      return move(rotation(m, picture), picture);
    case ImageOp::brightness: {
      const auto factor = static_cast<float>(1 + m);
      return look_up(
          [&](int v) { return clamped(factor * static_cast<float>(v)); },
          picture);
    }
    case ImageOp::color:
      return blend_with_grey(1 + m, picture);
    case ImageOp::contrast:
      return blend_with_mean(1 + m, picture);
    case ImageOp::sharpness:
      return sharpen(1 + m, picture);
    case ImageOp::posterize: {
      const int mask = 256 - (1 << (8 - static_cast<int>(m)));
      return look_up([&](int v) { return static_cast<std::uint8_t>(v & mask); },
                     picture);
    }
    case ImageOp::solarize:
      return look_up(
          [&](int v) {
            return static_cast<std::uint8_t>(v >= m ? 255 - v : v);
          },
          picture);
    case ImageOp::auto_contrast:
      return stretch_contrast(picture);
    case ImageOp::equalize:
      return equalize(picture);
  }
  MUMOE_CHECK(false, "operation {}", static_cast<int>(op));
}

double magnitude_of(ImageOp op, int bin, int bins, int width, int height) {
  const double part = static_cast<double>(bin) / (bins - 1);
  switch (op) {
    case ImageOp::shear_x:
    case ImageOp::shear_y:
      return 0.3 * part;
    case ImageOp::translate_x:
      return 150.0 / 331.0 * width * part;
    case ImageOp::translate_y:
      return 150.0 / 331.0 * height * part;
    case ImageOp::rotate:
      return 30 * part;
    case ImageOp::brightness:
    case ImageOp::color:
    case ImageOp::contrast:
    case ImageOp::sharpness:
      return 0.9 * part;
    case ImageOp::posterize:
      return 8 - std::nearbyint(4 * part);
    case ImageOp::solarize:
      return 255 * (1 - part);
    default:
      return 0;
  }
}

bool has_sign(ImageOp op) {
  return op >= ImageOp::shear_x && op <= ImageOp::sharpness;
}

void rand_augment(const CounterRandom& random,
                  std::uint64_t first,
                  Pixels& picture) {
  constexpr int kOps = 2;
  constexpr int kBin = 15;
  constexpr int kBins = 31;
  for (std::uint64_t i = 0; i < kOps; ++i) {
    const auto op =
        static_cast<ImageOp>(random.below(first + 2 * i, kImageOps));
    double magnitude =
        magnitude_of(op, kBin, kBins, picture.width(), picture.height());
    if (has_sign(op) && random.below(first + 2 * i + 1, 2) == 1) {
      magnitude = -magnitude;
    }
    apply(op, magnitude, picture);
  }
}

}  // namespace mumoe::data

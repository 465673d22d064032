#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/random.h"
#include "data/images/pixels.h"

namespace mumoe::data {

/// The operations of RandAugment (Cubuk et al., arXiv 1909.13719), as
/// torchvision 0.26 performs them on 8-bit images.
enum class ImageOp {
  identity,
  shear_x,
  shear_y,
  translate_x,
  translate_y,
  rotate,
  brightness,
  color,
  contrast,
  sharpness,
  posterize,
  solarize,
  auto_contrast,
  equalize,
};
inline constexpr int kImageOps = 14;

std::string_view to_string(ImageOp op);

/// Applies `op`. `magnitude` is what it is in torchvision: the shear, pixels,
/// degrees, what is added to a factor of 1, bits, or a threshold. Geometric
/// ones take the nearest pixel, and black from outside.
void apply(ImageOp op, double magnitude, Pixels& picture);

/// The magnitude at `bin` of `bins` (0 the weakest), before a sign is drawn.
double magnitude_of(ImageOp op, int bin, int bins, int width, int height);
/// Whether the sign of the magnitude is drawn.
bool has_sign(ImageOp op);

/// RandAugment(2, 15) of 31 magnitudes: two operations at random, each of the
/// strength in the middle. Uses draws `first` to `first` + 3 of `random`.
void rand_augment(const CounterRandom& random,
                  std::uint64_t first,
                  Pixels& picture);

}  // namespace mumoe::data

#pragma once

#include "data/images/pixels.h"

namespace mumoe::data {

/// How a picture becomes another of a given size: the rectangle of it, in its
/// own pixels, that becomes `width` x `height`, and the window of that which is
/// wanted, `size` pixels each way.
struct Resampling {
  double left = 0, top = 0, box_width = 0, box_height = 0;
  int width = 0, height = 0;
  int window_left = 0, window_top = 0, size = 0;
  bool mirror = false;  ///< Left and right of the result change places.

  /// The part of a picture of which the window is made.
  Region source(int picture_width, int picture_height) const;
};

/// Bicubic (Keys, a = -1/2), widened where the picture shrinks so that it is
/// smoothed ("antialiased"): what Pillow and torchvision compute, in 14-bit
/// weights, rounded once. Pixels outside of the rectangle are not used.
Pixels resample(const Decoded& picture, const Resampling& how);

}  // namespace mumoe::data

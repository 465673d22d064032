#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/images/pixels.h"

namespace mumoe::data::testing {

/// How `jpeg_of` writes.
struct JpegForm {
  int quality = 95;
  int components = 3;  ///< 1 grey, 3 colour, 4 CMYK
  bool halved = true;  ///< Colour at half the resolution both ways.
  bool progressive = false;
  bool ycck = false;  ///< Of CMYK.
  bool adobe = true;  ///< CMYK with Adobe's marker, and so inverted.
};

/// A JPEG file of `values`, [height, width, components].
std::string jpeg_of(int width,
                    int height,
                    const std::vector<std::uint8_t>& values,
                    const JpegForm& form = {});

/// A PNG file of rows as libpng takes them, of PNG_COLOR_TYPE `type`.
std::string png_of(int width,
                   int height,
                   int type,
                   int bits,
                   const std::vector<std::uint8_t>& rows,
                   bool interlaced = false);

/// Smooth colours with some structure: [height, width, components].
std::vector<std::uint8_t> smooth(int width, int height, int components = 3);

/// The red, green and blue of a picture, without the fourth byte.
std::vector<std::uint8_t> rgb_of(const Pixels& pixels);

/// Mean of the differences, in steps of 255.
double mean_difference(const std::vector<std::uint8_t>& one,
                       const std::vector<std::uint8_t>& two);

}  // namespace mumoe::data::testing

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mumoe::study {

/// Red, green and blue of 8 bits, rows from the top without gaps.
struct Raster {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb = {};
};

/// As a PNG file, grey where all of it is; throws `InternalError` with
/// libpng's reason.
std::string png_file(const Raster& raster);
/// As a JPEG file of quality 85; throws `InternalError`.
std::string jpeg_file(const Raster& raster);

/// `bytes` in base 64.
std::string base64(std::string_view bytes);

}  // namespace mumoe::study

#include "tests/data/pictures.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
// After <cstdio>, which it needs.
#include <jpeglib.h>
#include <png.h>

#include "base/error.h"

namespace mumoe::data::testing {

std::string jpeg_of(int width,
                    int height,
                    const std::vector<std::uint8_t>& values,
                    const JpegForm& form) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = form.components;
  info.in_color_space = form.components == 1   ? JCS_GRAYSCALE
                        : form.components == 3 ? JCS_RGB
                                               : JCS_CMYK;
  jpeg_set_defaults(&info);
  if (form.ycck) jpeg_set_colorspace(&info, JCS_YCCK);
  if (form.components == 4 && !form.adobe) info.write_Adobe_marker = FALSE;
  jpeg_set_quality(&info, form.quality, TRUE);
  if (form.progressive) jpeg_simple_progression(&info);
  if (!form.halved) {
    for (int c = 0; c < info.num_components; ++c) {
      info.comp_info[c].h_samp_factor = info.comp_info[c].v_samp_factor = 1;
    }
  }
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    auto* row = const_cast<JSAMPROW>(
        values.data() +
        static_cast<std::size_t>(info.next_scanline) * width * form.components);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string text(reinterpret_cast<char*>(bytes), size);
  jpeg_destroy_compress(&info);
  std::free(bytes);
  return text;
}

std::string png_of(int width,
                   int height,
                   int type,
                   int bits,
                   const std::vector<std::uint8_t>& rows,
                   bool interlaced) {
  png_structp png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  std::string text;
  png_set_write_fn(
      png,
      &text,
      [](png_structp p, png_bytep from, std::size_t count) {
        static_cast<std::string*>(png_get_io_ptr(p))
            ->append(reinterpret_cast<char*>(from), count);
      },
      [](png_structp) {});
  png_set_IHDR(png,
               info,
               static_cast<png_uint_32>(width),
               static_cast<png_uint_32>(height),
               bits,
               type,
               interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  if (type == PNG_COLOR_TYPE_PALETTE) {
    const png_color colours[4] = {{0, 0, 0},
                                  {255, 0, 0},
                                  {0, 200, 9},
                                  {7, 8, 9}};
    png_set_PLTE(png, info, colours, 4);
    const png_byte alpha[2] = {0, 100};
    png_set_tRNS(png, info, alpha, 2, nullptr);
  }
  png_write_info(png, info);
  const std::size_t stride = rows.size() / static_cast<std::size_t>(height);
  std::vector<png_bytep> pointers;
  for (int y = 0; y < height; ++y) {
    pointers.push_back(const_cast<png_bytep>(rows.data() + y * stride));
  }
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return text;
}

std::vector<std::uint8_t> smooth(int width, int height, int components) {
  std::vector<std::uint8_t> values;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < components; ++c) {
        const double value =
            128 + 60 * std::sin(0.05 * x + c) + 50 * std::cos(0.07 * y - 2 * c);
        values.push_back(static_cast<std::uint8_t>(value));
      }
    }
  }
  return values;
}

std::vector<std::uint8_t> rgb_of(const Pixels& pixels) {
  std::vector<std::uint8_t> values;
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    if (i % Pixels::kBytes != 3) values.push_back(pixels.data()[i]);
  }
  return values;
}

double mean_difference(const std::vector<std::uint8_t>& one,
                       const std::vector<std::uint8_t>& two) {
  MUMOE_CHECK(one.size() == two.size() && !one.empty());
  double sum = 0;
  for (std::size_t i = 0; i < one.size(); ++i) sum += std::abs(one[i] - two[i]);
  return sum / static_cast<double>(one.size());
}

}  // namespace mumoe::data::testing

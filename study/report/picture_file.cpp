#include "study/report/picture_file.h"

// jpeglib.h needs it first.
#include <cstdio>

#include <jpeglib.h>
#include <png.h>

#include <cstdlib>
#include <memory>

#include "base/error.h"

namespace mumoe::study {
namespace {

bool is_grey(const Raster& raster) {
  for (std::size_t i = 0; i < raster.rgb.size(); i += 3) {
    if (raster.rgb[i] != raster.rgb[i + 1] ||
        raster.rgb[i] != raster.rgb[i + 2]) {
      return false;
    }
  }
  return true;
}

[[noreturn]] void jpeg_failed(j_common_ptr info) {
  char reason[JMSG_LENGTH_MAX];
  info->err->format_message(info, reason);
  fail<InternalError>("a JPEG file: {}", reason);
}

}  // namespace

std::string png_file(const Raster& raster) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(raster.width);
  image.height = static_cast<png_uint_32>(raster.height);
  const bool grey = is_grey(raster);
  image.format = grey ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  std::vector<std::uint8_t> pixels = raster.rgb;
  if (grey) {
    pixels.resize(raster.rgb.size() / 3);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      pixels[i] = raster.rgb[3 * i];
    }
  }
  png_alloc_size_t size = 0;
  const auto write = [&](void* to) {
    const int done = png_image_write_to_memory(&image,
                                               to,
                                               &size,
                                               /*convert_to_8_bit=*/0,
                                               pixels.data(),
                                               /*row_stride=*/0,
                                               /*colormap=*/nullptr);
    MUMOE_CHECK(done != 0, "a PNG file: {}", image.message);
  };
  write(nullptr);
  std::string file(size, '\0');
  write(file.data());
  file.resize(size);
  return file;
}

std::string jpeg_file(const Raster& raster) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  errors.error_exit = jpeg_failed;
  jpeg_create_compress(&info);
  const std::unique_ptr<jpeg_compress_struct, void (*)(jpeg_compress_struct*)>
      open(&info,
           [](jpeg_compress_struct* one) { jpeg_destroy_compress(one); });
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(raster.width);
  info.image_height = static_cast<JDIMENSION>(raster.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 85, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    // libjpeg takes rows that it does not write as if it did.
    JSAMPROW row = const_cast<JSAMPROW>(raster.rgb.data() +
                                        std::size_t{info.next_scanline} *
                                            info.image_width * 3);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string file(reinterpret_cast<const char*>(bytes), size);
  std::free(bytes);
  return file;
}

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      const unsigned char byte =
          i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0;
      three = three << 8 | byte;
    }
    for (std::size_t k = 0; k < 4; ++k) {
      const bool there = k <= bytes.size() - i;
      text += there ? kDigits[three >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

}  // namespace mumoe::study

#include <algorithm>
#include <csetjmp>
#include <cstdio>
// After <cstdio>, which it needs.
#include <jpeglib.h>
// After it.
#include <jerror.h>

#include "base/error.h"
#include "data/images/decode.h"

namespace mumoe::data {
namespace {

/// Fancy upsampling looks at the neighbours: so many pixels at the rim of what
/// is decoded alone differ from those of the whole.
constexpr int kRim = 2;
constexpr std::size_t kTail = 64;

struct Errors {
  jpeg_error_mgr manager;  // first: the library hands out a pointer to it
  std::jmp_buf jump;
  char text[JMSG_LENGTH_MAX] = "";
  bool damaged = false;
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  (*info->err->format_message)(info, errors->text);
  std::longjmp(errors->jump, 1);
}

/// Warnings that the pixels are all there and right.
bool harmless(int code) {
  switch (code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA:
      return true;
    default:
      return false;
  }
}

void on_message(j_common_ptr info, int level) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  if (level >= 0 || errors->damaged || harmless(info->err->msg_code)) return;
  errors->damaged = true;
  (*info->err->format_message)(info, errors->text);
}

/// Where the pixels go; lives outside of what a longjmp leaves.
struct Scan {
  Decoded decoded;
  int width = 0, height = 0;  // wanted, in shrunk pixels
  bool to_the_end = false;
};

class Jpeg final : public ImageFile::Decoder {
 public:
  Jpeg(const std::filesystem::path& path, std::string_view bytes)
      : path_(path), bytes_(bytes) {
    info_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = on_error;
    errors_.manager.emit_message = on_message;
    jpeg_create_decompress(&info_);
    if (!header()) {
      jpeg_destroy_decompress(&info_);
      damaged();
    }
    width = static_cast<int>(info_.image_width);
    height = static_cast<int>(info_.image_height);
  }
  ~Jpeg() override { jpeg_destroy_decompress(&info_); }

  Decoded decode(const Region& part, int least) override {
    Scan scan;
    int& shrink = scan.decoded.shrink;
    while (shrink < 8 && part.width >= 2 * shrink * least &&
           part.height >= 2 * shrink * least) {
      shrink *= 2;
    }
    const int wide = (width + shrink - 1) / shrink;
    const int high = (height + shrink - 1) / shrink;
    const int left = std::max(part.left / shrink - kRim, 0);
    const int right = (part.left + part.width + shrink - 1) / shrink + kRim;
    scan.decoded.left = left;
    scan.decoded.top = part.top / shrink;
    scan.width = std::min(right, wide) - left;
    scan.height = (part.top + part.height + shrink - 1) / shrink;
    scan.height = std::min(scan.height, high) - scan.decoded.top;
    // A file that ends as it should is not read to the end.
    const std::size_t tail = bytes_.rfind("\xff\xd9");
    scan.to_the_end =
        tail == std::string_view::npos || bytes_.size() - tail > kTail;
    if (!read(scan) || errors_.damaged) damaged();
    if (info_.out_color_space == JCS_CMYK) to_rgb(scan.decoded.pixels);
    return std::move(scan.decoded);
  }

 private:
  [[noreturn]] void damaged() const {
    fail<InputError>("{}: damaged JPEG file: {}", path_.string(), errors_.text);
  }

  bool header() {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_mem_src(&info_,
                 reinterpret_cast<const unsigned char*>(bytes_.data()),
                 bytes_.size());
    jpeg_read_header(&info_, TRUE);
    return !errors_.damaged;
  }

  bool read(Scan& scan) {
    if (setjmp(errors_.jump) != 0) return false;
    const bool four = info_.jpeg_color_space == JCS_CMYK ||
                      info_.jpeg_color_space == JCS_YCCK;
    info_.out_color_space = four ? JCS_CMYK : JCS_EXT_RGBX;
    info_.scale_num = 1;
    info_.scale_denom = static_cast<unsigned>(scan.decoded.shrink);
    info_.dct_method = JDCT_ISLOW;
    jpeg_start_decompress(&info_);
    JDIMENSION left = static_cast<JDIMENSION>(scan.decoded.left);
    JDIMENSION wide = static_cast<JDIMENSION>(scan.width);
    if (wide < info_.output_width) {
      jpeg_crop_scanline(&info_, &left, &wide);  // both grow to whole blocks
    }
    scan.decoded.left = static_cast<int>(left);
    scan.decoded.pixels = Pixels(static_cast<int>(wide), scan.height);
    const auto top = static_cast<JDIMENSION>(scan.decoded.top);
    const JDIMENSION end = top + static_cast<JDIMENSION>(scan.height);
    if (top > 0) jpeg_skip_scanlines(&info_, top);
    while (info_.output_scanline < end) {
      JSAMPROW row = scan.decoded.pixels.row(
          static_cast<int>(info_.output_scanline - top));
      jpeg_read_scanlines(&info_, &row, 1);
    }
    if (scan.to_the_end && end < info_.output_height) {
      jpeg_skip_scanlines(&info_, info_.output_height - end);
    }
    return true;
  }

  /// Ink to light. Adobe's programs, which wrote nearly all such files, store
  /// the values inverted.
  void to_rgb(Pixels& pixels) const {
    const int flip = info_.saw_Adobe_marker ? 0 : 255;
    for (std::size_t at = 0; at < pixels.size(); at += Pixels::kBytes) {
      std::uint8_t* pixel = pixels.data() + at;
      const int light = pixel[3] ^ flip;
      for (int c = 0; c < 3; ++c) {
        pixel[c] =
            static_cast<std::uint8_t>(((pixel[c] ^ flip) * light + 127) / 255);
      }
    }
  }

  std::filesystem::path path_;
  std::string_view bytes_;
  jpeg_decompress_struct info_{};
  Errors errors_;
};

}  // namespace

std::unique_ptr<ImageFile::Decoder> open_jpeg(const std::filesystem::path& path,
                                              std::string_view bytes) {
  return std::make_unique<Jpeg>(path, bytes);
}

}  // namespace mumoe::data

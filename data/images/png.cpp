#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/images/decode.h"

namespace mumoe::data {
namespace {

class Png final : public ImageFile::Decoder {
 public:
  Png(const std::filesystem::path& path, std::string_view bytes)
      : path_(path), rest_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING,
                                  this,
                                  on_error,
                                  on_warning);
    MUMOE_CHECK(png_ != nullptr);
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr || !header()) {
      png_destroy_read_struct(&png_, &info_, nullptr);
      damaged();
    }
    width = static_cast<int>(png_get_image_width(png_, info_));
    height = static_cast<int>(png_get_image_height(png_, info_));
  }
  ~Png() override { png_destroy_read_struct(&png_, &info_, nullptr); }

  /// PNG has no parts to begin at: all of it.
  Decoded decode(const Region&, int) override {
    Decoded decoded;
    decoded.pixels = Pixels(width, height);
    for (int y = 0; y < height; ++y) rows_.push_back(decoded.pixels.row(y));
    if (!read()) damaged();
    return decoded;
  }

 private:
  [[noreturn]] void damaged() const {
    fail<InputError>("{}: damaged PNG file: {}", path_.string(), text_);
  }

  [[noreturn]] static void on_error(png_structp png, const char* text) {
    auto* self = static_cast<Png*>(png_get_error_ptr(png));
    std::strncpy(self->text_, text, sizeof self->text_ - 1);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, const char*) {}
  static void on_read(png_structp png, png_bytep to, std::size_t count) {
    auto* self = static_cast<Png*>(png_get_io_ptr(png));
    if (count > self->rest_.size()) png_error(png, "the file is cut short");
    std::memcpy(to, self->rest_.data(), count);
    self->rest_.remove_prefix(count);
  }

  bool header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, this, on_read);
    png_read_info(png_, info_);
    return true;
  }

  bool read() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_scale_16(png_);
    png_set_palette_to_rgb(png_);
    const int type = png_get_color_type(png_, info_);
    if (type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
    if ((type & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png_);
    png_set_strip_alpha(png_);
    png_set_filler(png_, 255, PNG_FILLER_AFTER);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) !=
        static_cast<std::size_t>(width) * Pixels::kBytes) {
      png_error(png_, "of a form that does not become 8-bit colour");
    }
    png_read_image(png_, rows_.data());
    png_read_end(png_, nullptr);
    return true;
  }

  std::filesystem::path path_;
  std::string_view rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::vector<png_bytep> rows_;
  char text_[256] = "";
};

}  // namespace

std::unique_ptr<ImageFile::Decoder> open_png(const std::filesystem::path& path,
                                             std::string_view bytes) {
  return std::make_unique<Png>(path, bytes);
}

}  // namespace mumoe::data

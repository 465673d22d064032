#include "data/images/decode.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace mumoe::data {
namespace {

/// Pixels of the largest picture that is decoded: 1 GiB of memory.
constexpr std::int64_t kMostPixels = std::int64_t{1} << 28;

std::unique_ptr<ImageFile::Decoder> open(const std::filesystem::path& path,
                                         std::string_view bytes) {
  using namespace std::string_view_literals;
  if (bytes.starts_with("\xff\xd8\xff")) return open_jpeg(path, bytes);
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return open_png(path, bytes);
  struct Form {
    std::string_view magic;
    const char* name;
  };
  constexpr Form kForms[] = {{"GIF8"sv, "a GIF file"},
                             {"BM"sv, "a BMP file"},
                             {"RIFF"sv, "a WebP file"},
                             {"II*\0"sv, "a TIFF file"},
                             {"MM\0*"sv, "a TIFF file"},
                             {"<"sv, "markup"},
                             {"\0\0\0\x0cjP"sv, "a JPEG 2000 file"}};
  const auto form = std::ranges::find_if(kForms, [&](const Form& candidate) {
    return bytes.starts_with(candidate.magic);
  });
  std::string what = bytes.empty() ? "an empty file" : "of no known form";
  if (form != std::end(kForms)) what = form->name;
  fail<InputError>("{}: {}; expected a JPEG or PNG file", path.string(), what);
}

}  // namespace

ImageFile::ImageFile(const std::filesystem::path& path, std::string_view bytes)
    : decoder_(open(path, bytes)) {
  require(std::int64_t{width()} * height() <= kMostPixels,
          "{}: {} x {} pixels; expected at most {} in all",
          path.string(),
          width(),
          height(),
          kMostPixels);
}

ImageFile::~ImageFile() = default;

int ImageFile::width() const {
  return decoder_->width;
}
int ImageFile::height() const {
  return decoder_->height;
}

Decoded ImageFile::decode(const Region& part, int least) {
  MUMOE_CHECK(part.left >= 0 && part.top >= 0 && part.width > 0 &&
              part.height > 0 && part.left + part.width <= width() &&
              part.top + part.height <= height());
  return decoder_->decode(part, least);
}

}  // namespace mumoe::data

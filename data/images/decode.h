#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "data/images/pixels.h"

namespace mumoe::data {

/// A JPEG or PNG file in memory, told apart by its content. Becomes red, green
/// and blue of 8 bits: grey is repeated, CMYK and YCCK multiplied out, 16 bits
/// rounded, palettes looked up, alpha left out (as Pillow does), interlaced and
/// progressive files too. Orientation and colour profiles are not looked at.
///
/// What cannot be decoded, or only with pixels missing or made up, throws
/// `InputError` naming the file and what the library says.
class ImageFile {
 public:
  /// Reads the header. `path` is for messages; `bytes` must outlive this.
  ImageFile(const std::filesystem::path& path, std::string_view bytes);
  ~ImageFile();
  ImageFile(const ImageFile&) = delete;
  ImageFile& operator=(const ImageFile&) = delete;

  int width() const;
  int height() const;

  /// The pixels of `part`, which lies inside, at least. May be shrunk while it
  /// is decoded as long as `part` keeps `least` pixels each way. Once only.
  Decoded decode(const Region& part, int least);

  class Decoder;

 private:
  std::unique_ptr<Decoder> decoder_;
};

/// What decodes one form.
class ImageFile::Decoder {
 public:
  virtual ~Decoder() = default;
  virtual Decoded decode(const Region& part, int least) = 0;
  int width = 0;
  int height = 0;
};

/// The decoders; as `ImageFile`.
std::unique_ptr<ImageFile::Decoder> open_jpeg(const std::filesystem::path& path,
                                              std::string_view bytes);
std::unique_ptr<ImageFile::Decoder> open_png(const std::filesystem::path& path,
                                             std::string_view bytes);

}  // namespace mumoe::data

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace mumoe::data {

/// A colour picture in memory: 4 bytes a pixel, red, green, blue and one that
/// means nothing, rows without gaps. Four are faster to work on than three.
class Pixels {
 public:
  static constexpr int kBytes = 4;
  /// Bytes after the last row that may be read, as if there were more pixels.
  static constexpr std::size_t kSlack = 16;

  Pixels() = default;
  /// Of any content.
  Pixels(int width, int height)
      : width_(width),
        height_(height),
        bytes_(
            std::make_unique_for_overwrite<std::uint8_t[]>(size() + kSlack)) {}

  int width() const { return width_; }
  int height() const { return height_; }
  /// Of all bytes.
  std::size_t size() const {
    return static_cast<std::size_t>(width_) * height_ * kBytes;
  }
  std::uint8_t* data() { return bytes_.get(); }
  const std::uint8_t* data() const { return bytes_.get(); }
  std::uint8_t* row(int y) {
    return data() + static_cast<std::size_t>(y) * width_ * kBytes;
  }
  const std::uint8_t* row(int y) const {
    return data() + static_cast<std::size_t>(y) * width_ * kBytes;
  }

 private:
  int width_ = 0;
  int height_ = 0;
  std::unique_ptr<std::uint8_t[]> bytes_;
};

/// A part of a picture, in its pixels.
struct Region {
  int left = 0, top = 0, width = 0, height = 0;
  bool operator==(const Region&) const = default;
};

/// What a decoder made of a file: the part of the picture that was asked for,
/// or more, shrunk by a power of two.
struct Decoded {
  Pixels pixels;
  int left = 0, top = 0;  ///< Of `pixels` in the shrunk picture.
  int shrink = 1;         ///< 1, 2, 4 or 8
};

}  // namespace mumoe::data

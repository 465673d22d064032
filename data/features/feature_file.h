#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace mumoe::data {

/// A .safetensors file of features, mapped: `features` [n, width] fp32 or fp16,
/// `labels` [n] int64 and `index` [n] int64, the number of the image in its set
/// that each row is of; and, where attributes of the images are known,
/// `attributes` uint8 [n, number of them]. Pages are read as they are used.
/// Immutable; safe to use from many threads.
class FeatureFile {
 public:
  /// Throws `InputError` naming the file and what is wrong with it: missing,
  /// truncated, no such tensors, other types or shapes.
  explicit FeatureFile(std::filesystem::path path);
  ~FeatureFile();
  FeatureFile(const FeatureFile&) = delete;
  FeatureFile& operator=(const FeatureFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::int64_t size() const { return size_; }
  std::int64_t width() const { return width_; }
  /// 0: none are known.
  std::int64_t attributes() const { return attributes_; }
  std::int64_t label(std::int64_t row) const;
  std::int64_t image(std::int64_t row) const;
  /// Row `row` as fp32, `width()` numbers.
  void read(std::int64_t row, float* to) const;
  /// Those of row `row`, `attributes()` numbers 0 or 1.
  std::span<const std::uint8_t> attributes_of(std::int64_t row) const;
  /// All bytes of it.
  std::string_view bytes() const { return {mapped_, length_}; }

 private:
  void read_head();

  std::filesystem::path path_;
  const char* mapped_ = nullptr;
  std::size_t length_ = 0;
  std::int64_t size_ = 0;
  std::int64_t width_ = 0;
  bool half_ = false;
  const char* features_ = nullptr;
  const char* labels_ = nullptr;
  const char* images_ = nullptr;
  std::int64_t attributes_ = 0;
  const std::uint8_t* attribute_rows_ = nullptr;
};

/// An fp16 number (IEEE 754 binary16) by its bits.
float half_to_float(std::uint16_t bits);

}  // namespace mumoe::data

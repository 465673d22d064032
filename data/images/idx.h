#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mumoe::data {

/// Bytes of an idx file (the form of MNIST): row-major, `dims` of them.
struct IdxArray {
  std::vector<std::int64_t> dims;
  std::vector<std::uint8_t> bytes;
};

/// Reads an idx file of unsigned bytes, as it is or gzipped. Throws
/// `InputError` naming the file when it is another form, or too short or too
/// long for what its header says.
IdxArray read_idx(const std::filesystem::path& path);

/// The dims of such a file, by its first bytes alone; throws as `read_idx`.
std::vector<std::int64_t> read_idx_dims(const std::filesystem::path& path);

/// Grey images with labels.
struct IdxImages {
  std::int64_t count = 0, height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  ///< [count, height, width]
  std::vector<std::uint8_t> labels;  ///< [count]
  std::string hash;                  ///< XXH3 of all of that, 16 digits.
};

/// Reads images and labels. Throws `InputError` also where they do not fit each
/// other, there is no image, or a label is not below `classes` (unless 0).
IdxImages read_idx_images(const std::filesystem::path& images,
                          const std::filesystem::path& labels,
                          std::int64_t classes);

/// The pair of files in `folder` whose names begin with one of `parts`, such as
/// train: train-images-idx3-ubyte and train-labels-idx1-ubyte, or with a dot
/// for the second hyphen, or with .gz. Empty paths: there is none.
struct IdxPair {
  std::filesystem::path images, labels;
};
IdxPair find_idx_pair(const std::filesystem::path& folder,
                      const std::vector<std::string>& parts);

}  // namespace mumoe::data

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/attributes.h"

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

/// Writes it; a file of the same bytes for the same array.
void write_idx(const std::filesystem::path& path, const IdxArray& array);

/// Images with labels.
struct IdxImages {
  std::int64_t count = 0, height = 0, width = 0;
  std::int64_t channels = 1;         ///< 1 grey, 3 red, green and blue.
  std::vector<std::uint8_t> pixels;  ///< [count, height, width, channels]
  std::vector<std::uint8_t> labels;  ///< [count]
  std::string hash;                  ///< XXH3 of all of that, 16 digits.
  Attributes attributes;             ///< Of each, where they are known.
};

/// The files in `folder` whose names begin with one of `parts`, such as train:
/// train-images-idx3-ubyte (or idx4: with a last dim of 3 colours) and
/// train-labels-idx1-ubyte, or with a dot for the second hyphen, or with .gz.
/// Empty paths: there are none. So too for attributes, which may be there:
/// train-attributes-idx2-ubyte.
struct IdxPair {
  std::filesystem::path images, labels, attributes;
};

/// Reads images, labels and attributes. Throws `InputError` also where they do
/// not fit each other, there is no image, or a label is not below `classes`
/// (unless 0).
IdxImages read_idx_images(const IdxPair& files, std::int64_t classes);

/// Files beside idx files that may be there: the names of the classes, and of
/// the attributes, a line each.
inline constexpr char kClassNames[] = "classes.txt";
inline constexpr char kAttributeNames[] = "attributes.txt";
void write_names(const std::filesystem::path& path,
                 const std::vector<std::string>& names);
/// Throws `InputError` where a name is empty or there twice.
std::vector<std::string> read_names(const std::filesystem::path& path);

IdxPair find_idx_pair(const std::filesystem::path& folder,
                      const std::vector<std::string>& parts);

}  // namespace mumoe::data

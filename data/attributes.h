#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mumoe::data {

/// What is true or false of each of some images, such as Male or Eyeglasses:
/// row i is of item i of their `Samples`. Empty where nothing is known.
struct Attributes {
  std::vector<std::string> names;
  std::vector<std::uint8_t> values;  ///< [images, names] of 0 and 1, row-major.

  bool empty() const { return names.empty(); }
  std::size_t images() const {
    return names.empty() ? 0 : values.size() / names.size();
  }
  bool at(std::size_t image, std::size_t attribute) const {
    return values[image * names.size() + attribute] != 0;
  }
  std::span<const std::uint8_t> row(std::size_t image) const {
    return std::span(values).subspan(image * names.size(), names.size());
  }

  /// The place of a name in `names`. Throws `InputError` that begins with
  /// `what`, such as "data.target": it is none of them, and which is nearest.
  std::size_t find(std::string_view name, const std::string& what) const;
};

/// What the two classes are called of a task whose target is `attribute`:
/// "not Male", "Male".
std::vector<std::string> classes_of_attribute(const std::string& attribute);

}  // namespace mumoe::data

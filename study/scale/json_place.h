#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace mumoe::study {

/// A part of a file of JSON that a person wrote: its value, and where it
/// stands. All functions throw `InputError` that says so and what was expected.
struct JsonPlace {
  const nlohmann::json& value;
  std::string where;  ///< "FILE: layouts[2].plan"; of the whole "FILE: ".

  [[noreturn]] void refuse(std::string_view expected) const;
  void require_that(bool condition, std::string_view expected) const {
    if (!condition) refuse(expected);
  }
  bool has(const char* name) const { return value.contains(name); }
  /// The member called `name`, or the element at `index`, which there must be.
  JsonPlace at(const std::string& name) const;
  JsonPlace at(std::size_t index) const;
  /// Throws for a member that is none of `names`.
  template <class Names>
  void require_keys(const Names& names) const {
    require_that(value.is_object(), "an object");
    for (const auto& [name, unused] : value.items()) {
      require(std::ranges::find(names, name) != std::end(names),
              "{}{}: no such key; expected one of {}",
              prefix(),
              name,
              fmt::join(names, ", "));
    }
  }

  /// A word or a number as a command line has it; true and false: yes and no.
  std::string word() const;
  /// The same of one value, or of all in a list.
  std::vector<std::string> words() const;
  std::int64_t count(std::int64_t least, std::int64_t most) const;

 private:
  std::string prefix() const;
};

}  // namespace mumoe::study

#include "data/attributes.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "data/nearest.h"
#include "data/text/forms.h"

namespace mumoe::data {

std::size_t Attributes::find(std::string_view name,
                             const std::string& what) const {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) {
    const std::vector<std::string_view> known(names.begin(), names.end());
    fail<InputError>("{} = {}: no such attribute{}; expected one of {}",
                     what,
                     printable(name),
                     nearest_name(name, known),
                     fmt::join(names, ", "));
  }
  return static_cast<std::size_t>(found - names.begin());
}

std::vector<std::string> classes_of_attribute(const std::string& attribute) {
  return {"not " + attribute, attribute};
}

}  // namespace mumoe::data

#include "study/scale/json_place.h"

#include "base/json.h"

namespace mumoe::study {

void JsonPlace::refuse(std::string_view expected) const {
  fail<InputError>("{} = {}: expected {}", where, to_text(value), expected);
}

std::string JsonPlace::prefix() const {
  return where + (where.ends_with(": ") ? "" : ".");
}

JsonPlace JsonPlace::at(const std::string& name) const {
  return {value.at(name), prefix() + name};
}

JsonPlace JsonPlace::at(std::size_t index) const {
  return {value.at(index), fmt::format("{}[{}]", where, index)};
}

std::string JsonPlace::word() const {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number()) return to_text(value);
  refuse("a text, a number, true or false");
}

std::vector<std::string> JsonPlace::words() const {
  if (!value.is_array()) return {word()};
  require_that(!value.empty(), "at least one value");
  std::vector<std::string> words;
  for (std::size_t i = 0; i < value.size(); ++i) words.push_back(at(i).word());
  return words;
}

std::int64_t JsonPlace::count(std::int64_t least, std::int64_t most) const {
  const auto count = value.is_number_integer() ? value.get<std::int64_t>() : -1;
  if (!value.is_number_integer() || count < least || count > most) {
    refuse(fmt::format("a whole number, {} to {}", least, most));
  }
  return count;
}

}  // namespace mumoe::study

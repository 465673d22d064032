#pragma once

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace mumoe::study {

// Values with members, of which there is a function
//   template <class Value, class Visit>
//   void visit_members(Value& value, const Visit& visit)
// that calls visit("name", value.member) of each: their JSON, and back. What is
// not finite, or not there, is null.

template <class T>
concept HasMembers = std::is_class_v<T> && requires(T& value) {
  visit_members(value, [](const char*, auto&) {});
};

template <class T>
nlohmann::ordered_json json_of(const std::vector<T>& values);
template <class T>
nlohmann::ordered_json json_of(const std::optional<T>& value);

template <class T>
nlohmann::ordered_json json_of(const T& value) {
  if constexpr (HasMembers<const T>) {
    auto object = nlohmann::ordered_json::object();
    visit_members(value, [&](const char* name, const auto& member) {
      object[name] = json_of(member);
    });
    return object;
  } else if constexpr (std::is_floating_point_v<T>) {
    return std::isfinite(value) ? nlohmann::ordered_json(value)
                                : nlohmann::ordered_json();
  } else {
    return value;
  }
}

template <class T>
nlohmann::ordered_json json_of(const std::vector<T>& values) {
  auto array = nlohmann::ordered_json::array();
  for (const T& value : values) array.push_back(json_of(value));
  return array;
}

template <class T>
nlohmann::ordered_json json_of(const std::optional<T>& value) {
  return value ? json_of(*value) : nlohmann::ordered_json();
}

/// One line without its end.
template <HasMembers T>
std::string line_of(const T& value) {
  return json_of(value).dump(-1,
                             ' ',
                             false,
                             nlohmann::ordered_json::error_handler_t::replace);
}

/// Takes values out of one object. Throws `InputError` that begins with `where`
/// and names the member that is missing or of another type. Members that
/// nothing asks for are of a newer version, and left alone.
class MemberReader {
 public:
  MemberReader(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  template <class T>
  void operator()(const char* name, T& value) const {
    const auto found = object_.find(name);
    if (found == object_.end()) {
      // An older version did not write it.
      if (forgo(value)) return;
      refuse(name, "nothing", expected(value));
    }
    if (!take(*found, value, name)) {
      refuse(name, to_text(*found), expected(value));
    }
  }

 private:
  template <class T>
  static bool forgo(const T&) {
    return false;
  }
  template <class T>
  static bool forgo(std::optional<T>& value) {
    value.reset();
    return true;
  }

  [[noreturn]] void refuse(const char* name,
                           const std::string& is,
                           const char* wanted) const {
    fail<InputError>("{}: {} = {}: expected {}", where_, name, is, wanted);
  }

  static const char* expected(const std::string&) { return "a text"; }
  static const char* expected(bool) { return "true or false"; }
  static const char* expected(double) { return "a number or null"; }
  static const char* expected(const std::vector<double>&) {
    return "a list of numbers";
  }
  template <class T>
  requires std::is_integral_v<T>
  static const char* expected(T) { return "a whole number of at least 0"; }
  template <class T>
  static const char* expected(const std::optional<T>&) {
    if (std::is_same_v<T, std::string>) return "a text or null";
    return HasMembers<T> ? "an object or null" : "a number or null";
  }

  bool take(const nlohmann::json& from, std::string& value, const char*) const {
    if (!from.is_string()) return false;
    value = from.get<std::string>();
    return true;
  }
  bool take(const nlohmann::json& from, bool& value, const char*) const {
    if (!from.is_boolean()) return false;
    value = from.get<bool>();
    return true;
  }
  bool take(const nlohmann::json& from, double& value, const char*) const {
    if (!from.is_number() && !from.is_null()) return false;
    value = from.is_null() ? std::numeric_limits<double>::quiet_NaN()
                           : from.get<double>();
    return true;
  }
  template <class T>
  requires std::is_integral_v<T>
  bool take(const nlohmann::json& from, T& value, const char*) const {
    const auto count = as_count(from);
    if (!count || *count > std::numeric_limits<T>::max()) return false;
    value = static_cast<T>(*count);
    return true;
  }
  bool take(const nlohmann::json& from,
            std::vector<double>& values,
            const char* name) const {
    if (!from.is_array()) return false;
    values.clear();
    for (const auto& entry : from) {
      if (!take(entry, values.emplace_back(), name)) return false;
    }
    return true;
  }
  template <HasMembers T>
  bool take(const nlohmann::json& from, T& value, const char* name) const {
    if (!from.is_object()) return false;
    visit_members(value, MemberReader(from, where_ + ": " + name));
    return true;
  }
  template <class T>
  bool take(const nlohmann::json& from,
            std::optional<T>& value,
            const char* name) const {
    value.reset();
    return from.is_null() || take(from, value.emplace(), name);
  }

  const nlohmann::json& object_;
  std::string where_;
};

/// What `line` says, `what` it is to be: "a run of a scaling study".
template <HasMembers T>
T value_of_line(std::string_view line,
                const std::string& where,
                const char* what) {
  const auto object = parse_json(line, where);
  require(object.is_object(), "{}: expected an object, {}", where, what);
  T value;
  visit_members(value, MemberReader(object, where));
  return value;
}

}  // namespace mumoe::study

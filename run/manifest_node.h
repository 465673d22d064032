#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/number.h"
#include "run/checked_file.h"

namespace mumoe::run {

/// A value of a manifest's JSON, and how a mistake in it is said: all throw
/// `DamageError` that begins with `where`.
struct ManifestNode {
  const nlohmann::json& value;
  const std::string& where;

  [[noreturn]] void refuse(const char* what) const {
    fail<DamageError>("{}: expected {}", where, what);
  }
  const nlohmann::json& member(const char* name) const {
    if (!value.is_object()) refuse("an object");
    const auto found = value.find(name);
    if (found == value.end()) {
      fail<DamageError>("{}: has no {}", where, name);
    }
    return *found;
  }
  bool has(const char* name) const { return value.contains(name); }
  std::int64_t count(const char* name) const {
    const auto number = as_count(member(name));
    if (!number) fail<DamageError>("{}: {}: expected a count", where, name);
    return *number;
  }
  std::string text(const char* name) const {
    const nlohmann::json& found = member(name);
    if (!found.is_string()) {
      fail<DamageError>("{}: {}: expected text", where, name);
    }
    return found.get<std::string>();
  }
  double number(const char* name) const {
    const nlohmann::json& found = member(name);
    if (!found.is_number()) {
      fail<DamageError>("{}: {}: expected a number", where, name);
    }
    return found.get<double>();
  }
  const nlohmann::json& list(const char* name) const {
    const nlohmann::json& found = member(name);
    if (!found.is_array()) {
      fail<DamageError>("{}: {}: expected a list", where, name);
    }
    return found;
  }
  std::vector<std::int64_t> counts(const char* name) const {
    std::vector<std::int64_t> numbers;
    for (const nlohmann::json& each : list(name)) {
      const auto number = as_count(each);
      if (!number) fail<DamageError>("{}: {}: expected counts", where, name);
      numbers.push_back(*number);
    }
    return numbers;
  }
  std::vector<double> numbers(const char* name) const {
    std::vector<double> all;
    for (const nlohmann::json& each : list(name)) {
      if (!each.is_number()) {
        fail<DamageError>("{}: {}: expected numbers", where, name);
      }
      all.push_back(each.get<double>());
    }
    return all;
  }
  std::uint64_t digits(const char* name) const {
    const auto number = parse_hexadecimal(text(name));
    if (!number) {
      fail<DamageError>("{}: {}: expected 16 hexadecimal digits", where, name);
    }
    return *number;
  }
};

}  // namespace mumoe::run

#include "base/json.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/error.h"

namespace mumoe {

using nlohmann::json;

/// The library writes by recursion what it reads without.
constexpr int kDeepest = 100;

json parse_json(std::string_view text, const std::string& what) {
  // The library would take it for the end.
  const auto zero = text.find('\0');
  require(zero == text.npos, "{} is not JSON from byte {} on", what, zero + 1);
  // Of the objects that are open; the library keeps the last entry of a name.
  std::vector<std::set<std::string>> names;
  const auto look = [&](int depth, json::parse_event_t event, json& value) {
    require(depth <= kDeepest,
            "{} is not JSON of any use: it is nested more than {} times",
            what,
            kDeepest);
    if (event == json::parse_event_t::object_start) names.emplace_back();
    if (event == json::parse_event_t::object_end) names.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& name = value.get_ref<const std::string&>();
      require(names.back().insert(name).second,
              "{} has two entries named {}",
              what,
              name);
    }
    return true;
  };
  try {
    return json::parse(text, look);
  } catch (const json::parse_error& error) {
    fail<InputError>("{} is not JSON from byte {} on", what, error.byte);
  } catch (const json::exception&) {
    fail<InputError>("{} is not JSON: it has a number beyond all bounds", what);
  }
}

std::string to_text(const json& value, int indent) {
  return value.dump(indent,
                    ' ',
                    /*ensure_ascii=*/false,
                    json::error_handler_t::replace);
}

std::optional<std::int64_t> as_count(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto count = value.get<std::uint64_t>();
  if (count > std::numeric_limits<std::int64_t>::max()) return std::nullopt;
  return static_cast<std::int64_t>(count);
}

}  // namespace mumoe

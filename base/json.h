#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace mumoe {

/// `text` as JSON. Throws `InputError` that begins with `what` ("FILE: its
/// header"): it is no JSON, or an object names something twice.
nlohmann::json parse_json(std::string_view text, const std::string& what);

/// `json` as text, on one line without `indent`. JSON is UTF-8, paths and names
/// of hosts need not be: what is not UTF-8 becomes U+FFFD.
std::string to_text(const nlohmann::json& json, int indent = -1);

/// The value, if it is a whole number, written as one (7, not 7.0), from 0 to
/// the largest std::int64_t.
std::optional<std::int64_t> as_count(const nlohmann::json& value);

}  // namespace mumoe

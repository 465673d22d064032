#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace mumoe {

/// The whole of `text` as a decimal number from `least` to `most`; floating
/// types also take 0.5 and 1e-3, never nan or inf. No blanks, no `+`, no 0x.
/// Throws `InputError` that says what was expected, with the range: whoever
/// knows where the text stands puts that before it.
template <class Number>
requires std::integral<Number> || std::floating_point<Number> Number
parse_number(std::string_view text,
             Number least = std::numeric_limits<Number>::lowest(),
             Number most = std::numeric_limits<Number>::max());

extern template int parse_number(std::string_view, int, int);
extern template std::int64_t parse_number(std::string_view,
                                          std::int64_t,
                                          std::int64_t);
extern template std::uint64_t parse_number(std::string_view,
                                           std::uint64_t,
                                           std::uint64_t);
extern template double parse_number(std::string_view, double, double);

/// "12.3 GiB"
std::string size_text(double bytes);

/// Exactly 16 hexadecimal digits; nothing where `text` is anything else.
std::optional<std::uint64_t> parse_hexadecimal(std::string_view text);

}  // namespace mumoe

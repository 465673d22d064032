#include "base/number.h"

#include <fmt/format.h>
#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <type_traits>

#include "base/error.h"

namespace mumoe {
namespace {

/// "a whole number, 1 or more"; the ends of the type itself only where they
/// tell something: it has no signs, or `beyond` them was asked for.
template <class Number>
std::string describe(Number least, Number most, bool beyond) {
  using Limits = std::numeric_limits<Number>;
  constexpr bool kWhole = std::is_integral_v<Number>;
  const bool low = least > Limits::lowest(), high = most < Limits::max();
  const char* kind = kWhole ? "a whole number" : "a finite number";
  const auto text = [](Number n) {
    return fmt::format(kWhole ? "{}" : "{:g}", n);
  };
  if (low && !high && !beyond) {
    return fmt::format("{}, {} or more", kind, text(least));
  }
  if (!low && !high && !beyond && Limits::is_signed) return kind;
  if (!low && !high && !Limits::is_integer) {
    return fmt::format("{}, {} to {} in size",
                       kind,
                       text(Limits::min()),
                       text(most));
  }
  return fmt::format("{}, {} to {}", kind, text(least), text(most));
}

}  // namespace

template <class Number>
requires std::integral<Number> || std::floating_point<Number> Number
parse_number(std::string_view text, Number least, Number most) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  const bool whole = stop == end && !text.empty();
  if constexpr (std::is_floating_point_v<Number>) {
    require(std::isfinite(value), "expected {}", describe(least, most, false));
  }
  require(
      whole && error == std::errc() && value >= least && value <= most,
      "expected {}",
      describe(least, most, whole && error == std::errc::result_out_of_range));
  return value;
}

template int parse_number(std::string_view, int, int);
template std::int64_t parse_number(std::string_view,
                                   std::int64_t,
                                   std::int64_t);
template std::uint64_t parse_number(std::string_view,
                                    std::uint64_t,
                                    std::uint64_t);
template double parse_number(std::string_view, double, double);

std::string size_text(double bytes) {
  constexpr std::array kUnits = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < kUnits.size(); ++unit) bytes /= 1024;
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::optional<std::uint64_t> parse_hexadecimal(std::string_view text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number, 16);
  const bool whole =
      text.size() == 16 && read.ec == std::errc() && read.ptr == end;
  return whole ? std::optional(number) : std::nullopt;
}

}  // namespace mumoe

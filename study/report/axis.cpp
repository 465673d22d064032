#include "study/report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace mumoe::study {
namespace {

constexpr double kLargest = 1e300;
constexpr double kSmallest = 1e-300;
constexpr double kSlack = 1e-9;  // of a step: rounding of its multiples

struct Unit {
  double size;
  const char* letter;
};

/// What numbers of up to `largest` are counted in.
Unit unit_for(double largest) {
  for (const Unit unit :
       {Unit{1e12, "T"}, Unit{1e9, "G"}, Unit{1e6, "M"}, Unit{1e3, "k"}}) {
    if (largest >= unit.size) return unit;
  }
  return {1, ""};
}

/// The least of 1, 2, 5, 10 times a power of ten that is not below `least`.
double round_step(double least) {
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double times : {1., 2., 5.}) {
    if (times * power >= least * (1 - kSlack)) return times * power;
  }
  return 10 * power;
}

/// Multiples of `step`, all written in one unit with equally many digits.
std::vector<Tick> multiples(double low, double high, double step) {
  const double largest = std::max(std::abs(low), std::abs(high));
  // Thousands are written out where no tick has five digits.
  const Unit unit = largest < 1e4 ? Unit{1, ""} : unit_for(largest);
  const double digits = -std::floor(std::log10(step / unit.size) + kSlack);
  const int decimals = static_cast<int>(std::clamp(digits, 0., 12.));
  const bool plain = largest < 1e15 && digits <= 6;
  std::vector<Tick> ticks;
  const double first = std::ceil(low / step - kSlack);
  const double last = std::floor(high / step + kSlack);
  for (double n = first; n <= last; ++n) {
    const double at = n * step;
    auto text =
        n == 0 ? std::string("0")
        : plain
            ? fmt::format("{:.{}f}{}", at / unit.size, decimals, unit.letter)
            : fmt::format("{:.6g}", at);
    ticks.push_back({at, std::move(text)});
  }
  return ticks;
}

AxisRange linear_range(double low, double high, bool from_zero) {
  const double largest = std::max(std::abs(low), std::abs(high));
  // Of one value, or several that double cannot tell apart at a tick's steps.
  if (high - low <= kSlack * largest || from_zero) {
    low = std::min(low, 0.);
    high = std::max(high, 0.);
  }
  if (low == high) high = 1;
  const double step = round_step((high - low) / 7);
  AxisRange range;
  range.low = std::floor(low / step + kSlack) * step;
  range.high = std::ceil(high / step - kSlack) * step;
  range.ticks = multiples(range.low, range.high, step);
  return range;
}

std::vector<Tick> powers_of_two(const AxisRange& range) {
  const int first = static_cast<int>(std::ceil(std::log2(range.low)));
  const int last = static_cast<int>(std::floor(std::log2(range.high)));
  const int every = std::max(1, (last - first) / 8 + 1);
  std::vector<Tick> ticks;
  for (int power = first; power <= last; power += every) {
    const double at = std::ldexp(1, power);
    const bool plain = power >= 0 && power <= 20;
    ticks.push_back({at, plain ? fmt::format("{:.0f}", at) : short_number(at)});
  }
  return ticks;
}

std::vector<Tick> decades(const AxisRange& range) {
  const int first = static_cast<int>(std::ceil(std::log10(range.low)));
  const int last = static_cast<int>(std::floor(std::log10(range.high)));
  std::vector<Tick> ticks;
  if (last - first > 2) {
    const int every = (last - first) / 7 + 1;
    for (int power = first; power <= last; power += every) {
      const double at = std::pow(10, power);
      ticks.push_back({at, short_number(at)});
    }
    return ticks;
  }
  for (int power = first - 1; power <= last; ++power) {
    for (const int times : {1, 2, 5}) {
      const double at = times * std::pow(10, power);
      if (at < range.low || at > range.high) continue;
      ticks.push_back({at, short_number(at)});
    }
  }
  return ticks;
}

AxisRange log_range(Scale scale, double low, double high) {
  // One value stands in the middle; others keep off the ends.
  const double width = std::log(high) - std::log(low);
  const double margin =
      width < 1e-3 ? 1.5 : std::clamp(std::exp(0.06 * width), 1.02, 1e6);
  AxisRange range{scale, low / margin, high * margin, {}};
  range.ticks = scale == Scale::log2 ? powers_of_two(range) : decades(range);
  if (range.ticks.size() < (scale == Scale::log2 ? 1 : 3)) {
    const double step = round_step((range.high - range.low) / 5);
    range.ticks = multiples(range.low, range.high, step);
  }
  return range;
}

}  // namespace

bool has_place(Scale scale, double value) {
  if (!std::isfinite(value) || std::abs(value) > kLargest) return false;
  return scale == Scale::linear || value > kSmallest;
}

AxisRange axis_range(Scale scale, double low, double high, bool from_zero) {
  if (low > high) std::swap(low, high);
  return scale == Scale::linear ? linear_range(low, high, from_zero)
                                : log_range(scale, low, high);
}

double place(const AxisRange& range, double value) {
  double low = range.low, high = range.high;
  if (range.scale != Scale::linear) {
    value = std::log(std::max(value, kSmallest));
    low = std::log(low);
    high = std::log(high);
  }
  return std::clamp((value - low) / (high - low), 0., 1.);
}

std::string short_number(double value) {
  const double size = std::abs(value);
  if (!std::isfinite(value) || (size > 0 && size < 1e-4) || size >= 1e15) {
    return fmt::format("{:.3g}", value);
  }
  const Unit unit = unit_for(size);
  // 999.96 has no fourth digit: it is 1000, not 1e+03.
  auto text = fmt::format("{:.3g}", value / unit.size);
  if (text.find('e') != text.npos) {
    text = fmt::format("{:.0f}", value / unit.size);
  }
  return text + unit.letter;
}

}  // namespace mumoe::study

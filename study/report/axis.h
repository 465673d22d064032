#pragma once

#include <string>
#include <vector>

namespace mumoe::study {

/// What equal lengths along an axis are: equal differences, or equal ratios.
/// log2 is for counts of ranks: its ticks are powers of two, written out.
enum class Scale { linear, log10, log2 };

/// A place on an axis and what stands there.
struct Tick {
  double at = 0;
  std::string text;
};

/// A stretch of an axis, `low` < `high`, and its ticks from low to high.
struct AxisRange {
  Scale scale = Scale::linear;
  double low = 0;
  double high = 1;
  std::vector<Tick> ticks = {};
};

/// Whether an axis of this scale has a place for `value`: it is finite (its
/// size at most 1e300), and above 1e-300 on a logarithmic one.
bool has_place(Scale scale, double value);

/// A range with ticks that holds `low` to `high`, both with a place. Linear
/// ones end at ticks, 1, 2 or 5 times a power of ten apart, and begin at 0 with
/// `from_zero`, if no value is below; of one value only, they reach to 0.
/// Logarithmic ones have a margin, and ticks at powers, with 2 and 5 times
/// them where they are few.
AxisRange axis_range(Scale scale, double low, double high, bool from_zero);

/// Where `value` lies from 0 (low) to 1 (high); the end for what is beyond one.
double place(const AxisRange& range, double value);

/// 0.25, 1500 as "1.5k", 2.5e9 as "2.5G": three digits or so.
std::string short_number(double value);

}  // namespace mumoe::study

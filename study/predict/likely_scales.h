#pragma once

#include <vector>

namespace mumoe::study {

/// Scales of a `LocalCorrection` under which what is `left` at `places` is the
/// likeliest, near `first`, which are what is thought of them before: a factor
/// of 2 to either side is a deviation. One after the other, by steps; the same
/// numbers in give the same numbers out.
std::vector<double> likely_scales(
    const std::vector<std::vector<double>>& places,
    const std::vector<double>& left,
    const std::vector<double>& first);

}  // namespace mumoe::study

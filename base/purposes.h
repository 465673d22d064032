#pragma once

#include "base/random.h"

namespace mumoe {

// Purposes of random numbers in data and models; kept apart from base/random.h,
// on which every file with parameters depends. Values are stored behaviour, as
// there.
inline constexpr Purpose kStochasticDepth{9};
inline constexpr Purpose kAugmentation{20};
inline constexpr Purpose kMixturePurpose{30};
inline constexpr Purpose kMixUpPurpose{31};
inline constexpr Purpose kDropout{40};
inline constexpr Purpose kGlyphPurpose{50};
inline constexpr Purpose kExamplePurpose{60};

}  // namespace mumoe

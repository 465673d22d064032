#pragma once

#include <cstdint>

#include "base/random.h"
#include "data/images/resample.h"

namespace mumoe::data {

/// RandomResizedCrop: a rectangle of 8 to 100 % of the picture's area, sides
/// 3 : 4 to 4 : 3, becomes `size` x `size`; mirrored or not. Where ten tries do
/// not fit, the largest in the middle that does.
Resampling random_look(const CounterRandom& random,
                       int width,
                       int height,
                       int size);

/// As evaluations look: the shorter side becomes 8/7 of `size` (256 of 224),
/// and of that the middle is taken.
Resampling central_look(int width, int height, int size);

/// The same, but taken anywhere, and mirrored or not.
Resampling shifted_look(const CounterRandom& random,
                        int width,
                        int height,
                        int size);

/// The first random draw that no look makes.
inline constexpr std::uint64_t kDrawsOfLooks = 64;

}  // namespace mumoe::data

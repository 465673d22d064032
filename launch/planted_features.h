#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "data/features/feature_data.h"

namespace mumoe::launch {

/// A correlation that is planted into features, by which of them are trained
/// on: each of the two classes is made of two of the features' own, the first
/// of which is of the group.
struct Plant {
  std::string features;  ///< A folder of features.
  std::filesystem::path out;
  std::array<std::string, 2> positive = {};  ///< Of the target: in the group,
  std::array<std::string, 2> negative = {};  ///< and outside of it.
  /// Of the target's training samples, the share that is of the group; of the
  /// others, that which is not.
  double share = 0.05;
  std::uint64_t seed = 1;
};

/// The attribute that says who is of the group.
inline constexpr const char* kPlantedGroup = "group";

/// Makes the folder `out`: as many samples of both classes for training, as
/// many as there are in these shares, and of each of the four subgroups for
/// validation. Returns what it is. Throws `InputError`: a class that there is
/// not, a share for which there are too few, what cannot be read or written.
data::FeatureFacts plant_features(const Plant& plant);

}  // namespace mumoe::launch

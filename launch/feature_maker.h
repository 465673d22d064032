#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/features/feature_data.h"
#include "data/images/image_data.h"
#include "launch/backbone.h"

namespace mumoe::launch {

/// What features are made of.
struct FeatureRequest {
  std::filesystem::path out;
  /// Images of each set, as even by class as there are enough; 0: all.
  std::int64_t train = 0;
  std::int64_t val = 0;
  int threads = 1;  ///< That each make a batch, where the backbone lets them.
};

/// Makes a folder of features (data/features/) of `images`, which are as an
/// evaluation sees them, with `backbone`; says on stderr how far it is. What is
/// there is replaced when all is made. Returns what it is. Throws `InputError`
/// naming what cannot be read or written.
data::FeatureFacts make_features(const FeatureRequest& request,
                                 const Backbone& backbone,
                                 const data::ImageData& images);

/// Indices of `count` of `samples` (0 or more than there are: all), in order,
/// as even by class as there are enough of each; of a class spread evenly.
std::vector<std::uint64_t> even_by_class(const data::Samples& samples,
                                         std::int64_t classes,
                                         std::int64_t count);

}  // namespace mumoe::launch

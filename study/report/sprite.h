#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/samples.h"
#include "study/experts/expert_study.h"

namespace mumoe::study {

/// Small images side by side in one picture, each once.
struct Sprite {
  std::string uri = {};  ///< data:image/...
  int tile = 0;          ///< Pixels a side of each.
  int columns = 0;
  std::map<std::uint64_t, int> place = {};  ///< Of each sample's.
};

/// Of `samples`, whose images are of `form`: no larger than `most` pixels a
/// side. The darkest and the brightest value of each channel among them become
/// black and white, for samples are normed.
Sprite sprite_of(const data::Samples& pictures,
                 const ImageForm& form,
                 const std::vector<std::uint64_t>& samples,
                 int most = 64);

}  // namespace mumoe::study

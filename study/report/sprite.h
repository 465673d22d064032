#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "data/samples.h"
#include "study/experts/expert_study.h"

namespace mumoe::study {

/// An image, or a patch of it.
struct Cutting {
  std::uint64_t sample = 0;
  std::int64_t patch = -1;  ///< In rows; −1: the whole image.

  auto operator<=>(const Cutting&) const = default;
};

/// Small images side by side in one picture, each once.
struct Sprite {
  std::string uri = {};  ///< data:image/...
  int tile = 0;          ///< Pixels a side of each.
  int columns = 0;
  std::map<Cutting, int> place = {};
};

/// Of `cuttings`, all of whole images or all of patches, from images of `form`:
/// no larger than `most` pixels a side. The darkest and the brightest value of
/// each channel among them become black and white, for samples are normed.
Sprite sprite_of(const data::Samples& pictures,
                 const ImageForm& form,
                 const std::set<Cutting>& cuttings,
                 int most);

}  // namespace mumoe::study

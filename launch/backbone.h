#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

#include "data/images/image_data.h"

namespace mumoe::launch {

/// A frozen model that makes features of images.
struct Backbone {
  std::string description;  ///< For people, and for features.json.
  std::string hash;         ///< Of its weights, hexadecimal.
  std::int64_t image_size;  ///< Side of what images are read as; 0: any.
  std::int64_t sees;        ///< Side of what it sees.
  bool concurrent;          ///< Whether several threads may ask it at once.
  /// Features [B, F], fp32, of images [B, channels · size · size] as
  /// `ImageData` has them.
  std::function<at::Tensor(const at::Tensor& images, const data::ImageData& of)>
      features;
};

/// `name`: a run directory whose model knows images (a ViT, a Mixer), or
/// efficientnet-lite0, whose published weights are fetched at first use and
/// which sees images of `image_size` pixels a side (0: 96), whatever size they
/// have. Throws `InputError`: what it is instead, or what does not fit.
Backbone open_backbone(const std::string& name, std::int64_t image_size);

}  // namespace mumoe::launch

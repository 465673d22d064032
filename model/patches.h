#pragma once

#include <ATen/core/Tensor.h>

#include "model/config.h"

namespace mumoe::model {

/// The patches of `images` [B, channels · height · width], rows of each channel
/// after the other, in `dtype`: [B · P, p · p · channels], a patch's pixels by
/// row, column and channel.
at::Tensor patches_of(const at::Tensor& images,
                      const ModelConfig& config,
                      at::ScalarType dtype);

}  // namespace mumoe::model

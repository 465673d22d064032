#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/model.h"

namespace mumoe::model {

/// A model of images, as whoever asks for their classes knows it.
class Classifier : public Model {
 public:
  /// Logits [B, classes] of `images` [B, channels · height · width], rows of
  /// each channel after the other, on `device()`; in fp32 (fp64 for fp64),
  /// without gradients and as in evaluation. The same on all tp ranks.
  /// Collective over the tp group.
  virtual at::Tensor logits(const at::Tensor& images) const = 0;
  /// What the head sees of `images`, [B, F]: as `logits`.
  virtual at::Tensor features(const at::Tensor& images) const = 0;
  virtual std::int64_t classes() const = 0;
  virtual at::Device device() const = 0;
};

}  // namespace mumoe::model

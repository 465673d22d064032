#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "mumoe/safetensors.h"

namespace mumoe::model {

/// EfficientNet-Lite0 (Tan and Le, arXiv 1905.11946, without squeeze-and-excite
/// and with ReLU6), to make features of images with: inference only, weights as
/// the package efficientnet-lite-pytorch names them. Immutable; safe to use
/// from many threads.
class EfficientNetLite {
 public:
  static constexpr std::int64_t kFeatures = 1280;
  static constexpr std::int64_t kClasses = 1000;
  /// What it was trained on: (v - kMean) / kDeviation of bytes v, 224 pixels.
  static constexpr double kMean = 127, kDeviation = 128;
  static constexpr std::int64_t kImageSize = 224;
  /// Sides of images are multiples of it: elsewhere frameworks pad otherwise.
  static constexpr std::int64_t kSideStep = 32;

  /// Throws `InputError` where a tensor is missing or of another shape.
  explicit EfficientNetLite(const NamedTensors& weights);

  /// Pooled features [B, 1280] of images [B, 3, side, side], as above, in fp32.
  at::Tensor features(const at::Tensor& images) const;
  /// What ImageNet's classes would be, [B, 1000].
  at::Tensor logits(const at::Tensor& images) const;

 private:
  /// A convolution and the batch norm behind it, as one.
  struct Convolution {
    at::Tensor weight;
    at::Tensor bias;
    std::int64_t stride = 1;
    std::int64_t groups = 1;
    bool clipped = true;  ///< ReLU6 follows.
    at::Tensor operator()(const at::Tensor& x) const;
  };
  /// An inverted bottleneck: widened, each channel convolved, narrowed; added
  /// to its input where that has the same shape.
  struct Block {
    std::vector<Convolution> parts;
    bool added = false;
  };

  Convolution stem_;
  std::vector<Block> blocks_;
  Convolution top_;
  at::Tensor classes_;
  at::Tensor classes_bias_;
};

}  // namespace mumoe::model

#include "model/efficientnet_lite.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>

#include "base/error.h"

namespace mumoe::model {

using at::Tensor;

namespace {

// As published: of so many blocks the first has the stride.
struct Stage {
  std::int64_t blocks, kernel, stride, widened, inputs, outputs;
};
constexpr Stage kStages[] = {{1, 3, 1, 1, 32, 16},
                             {2, 3, 2, 6, 16, 24},
                             {2, 5, 2, 6, 24, 40},
                             {3, 3, 2, 6, 40, 80},
                             {3, 5, 1, 6, 80, 112},
                             {4, 5, 2, 6, 112, 192},
                             {1, 3, 1, 6, 192, 320}};
constexpr std::int64_t kStem = 32;
constexpr std::int64_t kTop = 320;
constexpr double kEpsilon = 1e-3;

Tensor weight_of(const NamedTensors& weights,
                 const std::string& name,
                 std::vector<std::int64_t> shape) {
  const Tensor& tensor = weights.at(name);
  require(tensor.sizes() == at::IntArrayRef(shape),
          "{} is [{}]; expected [{}], as in EfficientNet-Lite0",
          name,
          fmt::join(tensor.sizes(), ", "),
          fmt::join(shape, ", "));
  return tensor.to(at::kFloat);
}

/// How much is added before and behind a side: the output has side / stride
/// pixels, and where that leaves an odd number, the end has one more.
std::pair<std::int64_t, std::int64_t> padding(std::int64_t side,
                                              std::int64_t kernel,
                                              std::int64_t stride) {
  const std::int64_t out = (side + stride - 1) / stride;
  const std::int64_t all =
      std::max<std::int64_t>(0, (out - 1) * stride + kernel - side);
  return {all / 2, all - all / 2};
}

}  // namespace

Tensor EfficientNetLite::Convolution::operator()(const Tensor& x) const {
  const auto [before, behind] = padding(x.size(-1), weight.size(-1), stride);
  Tensor in = x;
  std::int64_t pad = before;
  if (before != behind) {
    in = at::constant_pad_nd(x, {before, behind, before, behind});
    pad = 0;
  }
  Tensor y = at::conv2d(in, weight, bias, stride, pad, /*dilation=*/1, groups);
  return clipped ? y.clamp_(0, 6) : y;
}

EfficientNetLite::EfficientNetLite(const NamedTensors& weights) {
  const at::NoGradGuard no_grad;
  const auto convolution = [&](const std::string& conv,
                               const std::string& norm,
                               std::vector<std::int64_t> shape,
                               std::int64_t stride,
                               std::int64_t groups,
                               bool clipped) {
    const std::int64_t outputs = shape[0];
    const auto of_norm = [&](const char* part) {
      return weight_of(weights, norm + part, {outputs});
    };
    const Tensor scale =
        of_norm(".weight") / (of_norm(".running_var") + kEpsilon).sqrt();
    const Tensor weight =
        weight_of(weights, conv + ".weight", std::move(shape)) *
        scale.view({-1, 1, 1, 1});
    return Convolution{
        .weight = weight.contiguous(at::MemoryFormat::ChannelsLast),
        .bias = of_norm(".bias") - of_norm(".running_mean") * scale,
        .stride = stride,
        .groups = groups,
        .clipped = clipped};
  };
  stem_ = convolution("_conv_stem", "_bn0", {kStem, 3, 3, 3}, 2, 1, true);
  std::int64_t index = 0;
  for (const Stage& stage : kStages) {
    for (std::int64_t i = 0; i < stage.blocks; ++i) {
      const std::string name = fmt::format("_blocks.{}.", index++);
      const std::int64_t inputs = i == 0 ? stage.inputs : stage.outputs;
      const std::int64_t stride = i == 0 ? stage.stride : 1;
      const std::int64_t wide = inputs * stage.widened;
      Block& block = blocks_.emplace_back();
      block.added = stride == 1 && inputs == stage.outputs;
      if (wide != inputs) {
        block.parts.push_back(convolution(name + "_expand_conv",
                                          name + "_bn0",
                                          {wide, inputs, 1, 1},
                                          1,
                                          1,
                                          true));
      }
      block.parts.push_back(convolution(name + "_depthwise_conv",
                                        name + "_bn1",
                                        {wide, 1, stage.kernel, stage.kernel},
                                        stride,
                                        wide,
                                        true));
      block.parts.push_back(convolution(name + "_project_conv",
                                        name + "_bn2",
                                        {stage.outputs, wide, 1, 1},
                                        1,
                                        1,
                                        false));
    }
  }
  top_ = convolution("_conv_head", "_bn1", {kFeatures, kTop, 1, 1}, 1, 1, true);
  classes_ = weight_of(weights, "_fc.weight", {kClasses, kFeatures});
  classes_bias_ = weight_of(weights, "_fc.bias", {kClasses});
}

Tensor EfficientNetLite::features(const Tensor& images) const {
  MUMOE_CHECK(images.dim() == 4 && images.size(1) == 3 &&
                  images.size(2) == images.size(3) &&
                  images.size(3) % kSideStep == 0,
              "images {}",
              images.sizes());
  const at::NoGradGuard no_grad;
  // Channels last: twice as fast on a CPU.
  Tensor x = stem_(images.contiguous(at::MemoryFormat::ChannelsLast));
  for (const Block& block : blocks_) {
    Tensor y = x;
    for (const Convolution& part : block.parts) y = part(y);
    x = block.added ? y.add_(x) : y;
  }
  return top_(x).mean({2, 3});
}

Tensor EfficientNetLite::logits(const Tensor& images) const {
  return at::linear(features(images), classes_, classes_bias_);
}

}  // namespace mumoe::model

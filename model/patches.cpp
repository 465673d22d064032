#include "model/patches.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace mumoe::model {

at::Tensor patches_of(const at::Tensor& images,
                      const ModelConfig& config,
                      at::ScalarType dtype) {
  const std::int64_t p = config.patch, side = config.image_size / p;
  MUMOE_CHECK(images.dim() == 2 &&
                  images.size(1) == config.channels * side * p * side * p,
              "images {}, expected {} channels of {} x {}",
              images.sizes(),
              config.channels,
              side * p,
              side * p);
  return images.to(dtype)
      .view({-1, config.channels, side, p, side, p})
      .permute({0, 2, 4, 3, 5, 1})
      .reshape({-1, p * p * config.channels});
}

}  // namespace mumoe::model

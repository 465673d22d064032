#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dist/params/bucket_layout.h"
#include "model/model.h"
#include "mumoe/plan_cost.h"

namespace mumoe::model {

/// What training costs each rank of a layout.
struct Cost {
  /// Elements of the whole model.
  std::int64_t parameters = 0;
  /// Of one micro-batch.
  PassCost pass = {};
  dist::ParameterBytes bytes = {};
  /// Over dp, and over dp and tp together, once a step.
  dist::StepBytes step = {};
};

/// Of `model` with `micro_batch` samples at once on `device`, its parameters
/// laid out by `layout`. Nothing is computed and no weight is looked at: a
/// registry on the meta device, and `dist::lay_out`, tell it of any mesh.
Cost cost_of(const Model& model,
             const dist::BucketLayout& layout,
             std::int64_t micro_batch,
             at::Device device,
             dist::Wire wire = dist::Wire::fp32);

/// Of one block for a token of its tp group, as it lies.
PlanCost plan_cost_of(const MuMoEBlock& block);

/// Of one block for `tokens` tokens of its tp group: what the block keeps and,
/// with it, its input, a stream of type `input`.
PassCost block_cost(const MuMoEBlock& block,
                    std::int64_t tokens,
                    at::ScalarType input,
                    at::Device device);

/// The products of a block's forward pass that take most of the time: of its
/// gates, experts', input and output factors, whole, for `tokens` tokens, of
/// `depth` such blocks.
void add_products(std::vector<Product>& products,
                  const BlockConfig& block,
                  std::int64_t tokens,
                  std::int64_t depth);

}  // namespace mumoe::model

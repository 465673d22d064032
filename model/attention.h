#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "dist/params/parameter_registry.h"
#include "dist/tensor_parallel.h"
#include "model/model.h"
#include "mumoe/gemm.h"

namespace mumoe::model {

/// Causal multi-head self-attention. Heads are a dim of the weights, so that
/// they can be cut between heads.
class Attention {
 public:
  /// Registers under `prefix`: qkv [3, heads, C/heads, C], proj
  /// [C, heads, C/heads] and, with `bias`, qkv_bias and proj_bias. `depth` is
  /// the number of blocks of the model: the projection starts at
  /// 0.02 / √(2 · depth) (GPT-2). Over a tp group, heads are cut: they divide
  /// by its size.
  Attention(std::int64_t width,
            std::int64_t heads,
            std::int64_t depth,
            bool bias,
            const std::string& prefix,
            dist::ParameterRegistry& registry,
            GemmLibrary gemm = preferred_gemm_library(),
            const dist::TensorParallel& tp = {});

  /// x [rows, C] → [rows, C]: this rank's of the B · T tokens of `samples` (B)
  /// sequences. Collective over the tp group.
  at::Tensor forward(const at::Tensor& x, std::int64_t samples) const;

  /// For `samples` sequences of `length` tokens. Kept are a copy of its input
  /// in the compute dtype, and what LibTorch's fused attention keeps; where it
  /// has none (fp64 on CUDA), T² for each head come in addition.
  PassCost cost(std::int64_t samples, std::int64_t length) const;

 private:
  at::Tensor qkv_;
  at::Tensor qkv_bias_;
  at::Tensor proj_;
  at::Tensor proj_bias_;
  GemmLibrary gemm_;
  dist::TensorParallel tp_;
};

}  // namespace mumoe::model

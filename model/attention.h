#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "dist/tensor_parallel.h"
#include "model/dropout.h"
#include "model/key_value_cache.h"
#include "model/model.h"
#include "mumoe/gemm.h"

namespace mumoe::model {

/// Which tokens a token sees: itself and those before it, or all.
enum class Sees { earlier, all };

/// Multi-head self-attention. Heads are a dim of the weights, so that they can
/// be cut between heads.
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
            const dist::TensorParallel& tp = {},
            Sees sees = Sees::earlier);

  /// x [rows, C] → [rows, C]: this rank's of the B · T tokens of `samples` (B)
  /// sequences. Collective over the tp group.
  /// `drop` drops probabilities of `layer`: then they are formed, T² for each
  /// head, in fp32 at least, since fused attention knows no mask of ours.
  at::Tensor forward(const at::Tensor& x,
                     std::int64_t samples,
                     const Dropout& drop = {},
                     std::size_t layer = 0) const;

  /// The same for the next tokens of every sequence that `cache` holds, those
  /// of its `places`, whose keys and values in `layer` it takes; without
  /// gradients. With cut tokens, rows behind those B · T fill up what has to
  /// divide.
  at::Tensor forward(const at::Tensor& x,
                     KeyValueCache& cache,
                     std::size_t layer,
                     const KeyValueCache::Places& places) const;

  /// Of this rank.
  std::int64_t heads() const { return qkv_.size(1); }

  /// For `samples` sequences of `length` tokens. Kept are a copy of its input
  /// in the compute dtype, and what LibTorch's fused attention keeps; where it
  /// has none (fp64 on CUDA), T² for each head come in addition.
  PassCost cost(std::int64_t samples,
                std::int64_t length,
                bool drops = false) const;

 private:
  /// [rows, 3 H D]
  at::Tensor project(const at::Tensor& x) const;
  /// y [B, H, T, D] by probabilities of which some are dropped.
  at::Tensor attend(const std::vector<at::Tensor>& qkv,
                    const Dropout& drop,
                    std::size_t layer) const;
  /// What comes of the heads' y [rows, H D].
  at::Tensor close(const at::Tensor& y) const;

  std::int64_t heads_;  ///< Of all ranks.
  at::Tensor qkv_;
  at::Tensor qkv_bias_;
  at::Tensor proj_;
  at::Tensor proj_bias_;
  GemmLibrary gemm_;
  dist::TensorParallel tp_;
  Sees sees_;
};

}  // namespace mumoe::model

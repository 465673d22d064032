#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "dist/tensor_parallel.h"
#include "model/config.h"
#include "model/families.h"
#include "model/model.h"
#include "mumoe/block.h"
#include "mumoe/gemm.h"

namespace mumoe::model {

/// What leads features to classes.
struct HeadShape {
  HeadKind kind = HeadKind::linear;
  std::int64_t features = 0;
  std::int64_t classes = 0;
  /// high_rank: between its two layers.
  std::int64_t hidden = 0;
  /// mixture: the block, complete but for its sharding.
  BlockConfig block = {};
  GemmLibrary gemm = preferred_gemm_library();
};

/// The head of `config` for so many features; its ranks may still be open. A
/// mixture is one layer that sees the features as its gate does, without a norm
/// of its own.
HeadShape head_shape(const ModelConfig& config, std::int64_t features);

/// Parameters of a linear head, which has a bias, of any kind's by its shape.
std::int64_t linear_head_parameters(std::int64_t features,
                                    std::int64_t classes);
std::int64_t head_parameters(const HeadShape& shape);

/// The hidden size h of two linear layers F → h → K with biases that together
/// have at most `parameters` parameters, h (F + 1 + K) + K; less than 1: not
/// even h = 1 fits.
std::int64_t high_rank_hidden(std::int64_t features,
                              std::int64_t classes,
                              std::int64_t parameters);

/// What `Family::mlps` says of it: `name` as of `MlpKind`.
MlpKind head_mlp(const ModelConfig& config,
                 std::int64_t features,
                 const char* name);

/// Throws `InputError` naming the member of `config` that no head for so many
/// features can have, but for ranks; the same of all of it.
void validate_head_shape(const ModelConfig& config, std::int64_t features);
void validate_head(const ModelConfig& config, std::int64_t features);

/// A classifier's head: features [B, F] → logits [B, K], by
///   linear     h Wᵀ + b, which starts as PyTorch's, U(±1/√F);
///   high_rank  two of them after each other, nothing between;
///   mixture    a single-layer μMoE block (section 4.3 of the paper).
/// Linear ones are whole on all ranks of a tp group; a mixture is too, but for
/// the plan `rank`.
class Head {
 public:
  /// Registers under `prefix`: weight [K, F], bias [K]; inner.weight [h, F],
  /// inner.bias, outer.weight [K, h], outer.bias; or what `MuMoEBlock` does.
  /// `batch_group`: as of `Family::make`. `registry` must outlive it.
  Head(const HeadShape& shape,
       const std::string& prefix,
       dist::ParameterRegistry& registry,
       const Sharding& sharding = {},
       dist::Communicator* batch_group = nullptr);

  /// h [B, F] of any floating dtype → [B, K] in fp32 (fp64 for fp64); under the
  /// plan `sequence` this rank's samples of both. Collective as
  /// `MuMoEBlock::forward` is.
  at::Tensor forward(const at::Tensor& h) const;

  /// Null: it is linear. Stays where the head stays.
  MuMoEBlock* block() { return block_ ? &*block_ : nullptr; }
  const MuMoEBlock* block() const { return block_ ? &*block_ : nullptr; }

  /// Of `samples` samples of the tp group, its input and the logits' softmax
  /// kept; without `into_features` it leads no gradient into them.
  PassCost cost(std::int64_t samples,
                bool into_features,
                at::Device device) const;
  /// Adds those of a micro-batch.
  void add_products(std::vector<Product>& products, std::int64_t samples) const;
  /// "a linear head", "a cp head of 64 experts, rank 393".
  std::string describe() const;

  const HeadShape& shape() const { return shape_; }
  at::Device device() const { return first().device(); }
  /// The dtype of its logits.
  at::ScalarType wide() const;

 private:
  struct Linear {
    at::Tensor weight;
    at::Tensor bias;
  };
  /// A tensor of it, for dtype and device.
  const at::Tensor& first() const;
  /// Multiply-accumulates a sample that lead a gradient into the features, of
  /// all ranks or of this one.
  double feature_macs(bool own) const;

  HeadShape shape_;
  dist::TensorParallel tp_;
  std::vector<Linear> linears_;
  std::optional<MuMoEBlock> block_;
};

}  // namespace mumoe::model

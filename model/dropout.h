#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "dist/params/placement.h"

namespace mumoe::model {

/// Where a model drops elements. Values are stored behaviour.
enum class DropPlace : std::uint32_t {
  embedding = 0,
  probabilities = 1,
  attention = 2,
  mlp = 3,
};

/// Inverted dropout of one pass (Srivastava et al., JMLR 15): an element is
/// zero with probability p, else it is divided by 1 − p. Which, is a function
/// of (seed, number of the sample, layer, place, element): the same on every
/// layout of ranks, in every micro-batch, and when a pass is repeated. Backward
/// draws the mask again instead of keeping it. Tensors are on the device of the
/// samples' numbers; nothing waits for it.
class Dropout {
 public:
  /// Drops nothing.
  Dropout() = default;
  /// In sequences of `length` tokens of the samples `ids` (int64 [B];
  /// undefined: drops nothing), of whose tokens this rank holds `rows`.
  Dropout(double p,
          std::uint64_t seed,
          const at::Tensor& ids,
          std::int64_t length,
          const dist::Slice& rows);

  bool drops() const { return ids_.defined() && p_ > 0; }

  /// x [rows, C]: this rank's tokens.
  at::Tensor of_rows(const at::Tensor& x,
                     DropPlace place,
                     std::size_t layer = 0) const;
  /// x [B, H, T, T]: heads from `first_head` on, of every token.
  at::Tensor of_probabilities(const at::Tensor& x,
                              std::size_t layer,
                              std::int64_t first_head) const;

 private:
  /// A number for each sample, int64 [B].
  at::Tensor keys(DropPlace place, std::size_t layer) const;

  double p_ = 0;
  std::uint64_t seed_ = 0;
  at::Tensor ids_;
  std::int64_t length_ = 0;
  dist::Slice rows_ = {};
};

/// Bytes that dropout of `rows` rows keeps for backward.
inline double dropout_kept_bytes(double rows) {
  return rows * sizeof(std::int64_t);
}

}  // namespace mumoe::model

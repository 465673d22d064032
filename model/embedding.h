#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "dist/tensor_parallel.h"

namespace mumoe::model {

/// The rows of an embedding or output head that this rank holds.
struct Vocabulary {
  /// Of all ranks; 0: all rows are here.
  std::int64_t size = 0;
  dist::TensorParallel tp = {};

  /// This rank's rows, of a weight that holds `rows` of them.
  dist::Slice slice(std::int64_t rows) const {
    return size == 0 ? dist::Slice{0, rows, rows} : tp.part(size);
  }
  /// Whether all rows are here.
  bool is_whole(const dist::Slice& slice) const {
    return size == 0 || slice.count == size;
  }
};

/// Rows of `weight` [V, C] for `ids` (int64, any shape): [..., C].
/// Differentiable in `weight`. The gradient of a row is summed in fp32 (fp64
/// for fp64): a common token would lose most of a bf16 sum. Ids of rows that
/// other ranks hold give zeros: the sum over ranks is the embedding.
at::Tensor embed(const at::Tensor& weight,
                 const at::Tensor& ids,
                 const Vocabulary& vocabulary = {});

/// Bytes that one call with `tokens` ids keeps for backward, of a weight of
/// `rows` rows here: nothing where all are here.
double embed_kept_bytes(double tokens,
                        std::int64_t rows,
                        const Vocabulary& vocabulary);

}  // namespace mumoe::model

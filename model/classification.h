#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "dist/tensor_parallel.h"
#include "model/model.h"
#include "mumoe/block.h"

// What models that tell classes apart have in common. Shapes: B samples, K
// classes.

namespace mumoe::model {

/// Σ of the cross-entropies of logits [B, K], `smoothing` of each target shared
/// by all classes; targets int64 [B, 1], or [B, K] whose rows are shares.
at::Tensor class_loss(const at::Tensor& logits,
                      const at::Tensor& target,
                      double smoothing);

/// The score of logits [B, K]; of shares, the largest is the right class, of
/// equal logits the first is the likeliest.
Score class_score(const at::Tensor& logits, const at::Tensor& target);

/// Of a batch's rows under plans that cut tokens, by which each rank of the
/// group holds whole samples; identities where tokens are not cut.
class SampleParts {
 public:
  SampleParts() = default;
  explicit SampleParts(const dist::TensorParallel& tp) : tp_(tp) {}

  /// In training: this rank's rows. Throws `InputError` for samples that do not
  /// divide by the group.
  at::Tensor own(const at::Tensor& all) const;
  /// In evaluation: this rank's rows of `all`, behind which rows of zeros make
  /// the ranks' parts equal.
  at::Tensor own_padded(const at::Tensor& all) const;
  /// All rows of `own` of `own_padded`, without the added ones. Collective.
  at::Tensor all(const at::Tensor& own, std::int64_t samples) const;
  /// Σ over the ranks' parts of a loss, whose gradient is this part's.
  /// Collective.
  at::Tensor sum(const at::Tensor& part) const;

 private:
  dist::TensorParallel tp_;
};

/// Batch norms of `blocks` use running statistics while it lives.
class Evaluation {
 public:
  explicit Evaluation(std::span<MuMoEBlock* const> blocks);
  ~Evaluation();
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

 private:
  std::span<MuMoEBlock* const> blocks_;
};

}  // namespace mumoe::model

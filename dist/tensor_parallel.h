#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "dist/communicator.h"
#include "dist/params/placement.h"

namespace mumoe::dist {

/// The collectives of a model that is cut over a tp group.
///
/// Where weights are cut, every rank works on all tokens; elsewhere weights are
/// whole, and either every rank holds all tokens or, with `tokens_cut`, its
/// part of them (sequence parallelism, Korthikanti et al., arXiv 2205.05198).
/// Two moves lead from one to the other, each the dual of the other:
///               forward                        backward
///   all_tokens  all-gather   (else identity)   sum
///   sum         reduce-scatter (or all-reduce) all_tokens
/// `enter` and `leave` are their differentiable forms. With tokens cut, the
/// gradients of whole weights are partial and are to be summed over the group
/// once a step.
///
/// Tokens are rows: dim 0 of every tensor. Which plan has them cut is the
/// caller's affair; a group of one rank, or none, has all identities.
/// Collective: every method but `rows` and `rank` questions. Errors:
/// `InputError` when cut rows do not divide by the ranks.
class TensorParallel {
 public:
  /// Not cut at all.
  TensorParallel() = default;
  /// `group` must outlive this object and every graph made with it.
  TensorParallel(Communicator& group, bool tokens_cut)
      : group_(&group), tokens_cut_(tokens_cut) {}

  int size() const { return group_ == nullptr ? 1 : group_->size(); }
  int rank() const { return group_ == nullptr ? 0 : group_->rank(); }
  bool tokens_cut() const { return tokens_cut_ && size() > 1; }
  /// Operations of one `enter` and one `leave`, forward and backward, and what
  /// they move for tensors of `bytes` with all tokens, as
  /// `Communicator::total_bytes` counts.
  int exchanges() const { return size() == 1 ? 0 : tokens_cut() ? 4 : 2; }
  double exchanged(double bytes) const { return size() == 1 ? 0 : 2 * bytes; }
  /// This rank's rows of `total`, outside. Throws `InputError` when tokens are
  /// cut and do not divide.
  Slice rows(std::int64_t total) const;
  /// This rank's part of a dim of `extent` that is cut.
  Slice part(std::int64_t extent) const {
    return slice_of(extent, rank(), size());
  }

  /// From outside to inside: x [rows, ...] → [all tokens, ...]. Backward sums.
  at::Tensor enter(const at::Tensor& x) const;
  /// From inside to outside: partial sums [all tokens, ...] → [rows, ...].
  at::Tensor leave(const at::Tensor& partial) const;

  // The same without a graph, for nodes that write their gradients out.
  at::Tensor all_tokens(const at::Tensor& x) const;
  /// May overwrite `partial`.
  at::Tensor sum(const at::Tensor& partial) const;

  /// A tensor of one of the two moves, and the operation that completes it.
  struct Pending {
    at::Tensor tensor;
    Work work;
    at::Tensor wait() const {
      work.wait();
      return tensor;
    }
  };
  Pending all_tokens_async(const at::Tensor& x) const;
  Pending sum_async(const at::Tensor& partial) const;

  /// Replaces partial sums of equal shapes on all ranks by their totals, in
  /// one operation. Of one dtype.
  void sum_together(std::vector<at::Tensor*> partial) const;
  /// Every rank's `x`, in rank order: [size, ...]. Not differentiable.
  at::Tensor of_all_ranks(const at::Tensor& x) const;

 private:
  Communicator* group_ = nullptr;
  bool tokens_cut_ = false;
};

}  // namespace mumoe::dist

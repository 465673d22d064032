#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "dist/communicator.h"

namespace mumoe::launch {

/// What a collective benchmark runs.
struct CommShape {
  dist::Op op = dist::Op::all_reduce;
  at::ScalarType dtype = at::kFloat;
  /// Of the larger of the two tensors, before rounding down to whole elements,
  /// the same number for every rank, and up to one.
  std::int64_t bytes = 0;
  dist::ReduceOp reduce = dist::ReduceOp::sum;
};

/// One collective of one shape with its tensors. Every rank of the group makes
/// the same; `run` is collective. Broadcasts come from rank 0.
class CommCase {
 public:
  /// `group` must outlive the case. Throws `InputError` for sums in bf16 of
  /// more than 64 ranks, which nothing could check.
  CommCase(dist::Communicator& group,
           const CommShape& shape,
           at::Device device);

  /// Of the larger of the two tensors.
  std::int64_t bytes() const;
  /// As in nccl-tests: the elements a rank gives to all_gather or all_to_all
  /// (to each rank) or gets from reduce_scatter; else those of the tensor.
  std::int64_t count() const { return count_; }

  /// Sets the inputs: element i of rank r is (i + r(r+1)/2) mod 4 + 1, so that
  /// sums are exact in bf16 up to 64 ranks. Outputs become −1.
  void fill();
  /// Runs once and returns when it has ended.
  void run();
  /// Elements of this rank's output that are not what they must be after
  /// `fill` and one `run`.
  std::int64_t count_wrong() const;

  /// Seconds of one run, the mean of `repeats` in a row.
  double seconds(int repeats);

 private:
  at::Tensor values(int rank, std::int64_t first, std::int64_t count) const;
  at::Tensor reduced(std::int64_t first, std::int64_t count) const;
  at::Tensor expected() const;

  dist::Communicator& group_;
  CommShape shape_;
  std::int64_t count_;
  at::Tensor in_;
  at::Tensor out_;  ///< `in_` itself where the operation is in place.
};

}  // namespace mumoe::launch

#pragma once

#include <ATen/core/Tensor.h>

#include "dist/params/flat_buckets.h"

namespace mumoe::dist {

/// The sum of one bucket's gradient over its group, under way. Afterwards
/// `grad` holds it where this rank owns the bucket, with the same bits on all
/// ranks that own the same; elsewhere its values are undefined.
///
/// bf16: every rank rounds its gradient and sends part r of it to rank r, which
/// adds what it receives in rank order, in the dtype of `grad`. Where the
/// bucket is not sharded, sums are rounded once more and gathered. So an
/// element is off by at most 2⁻⁸ of the sum of its parts' sizes, and once more
/// of the sum itself where it was gathered. Each byte travels as often as in an
/// all_reduce (or reduce_scatter) of twice the bytes. A group of one rank
/// rounds nothing.
///
/// Collective over the bucket's group: start, advance and finish in turn.
/// Several buckets may be under way; `start` and `advance` begin operations, so
/// that all ranks must call them in the same order, whatever has arrived.
class BucketReduction {
 public:
  /// Begins. `bucket` must outlive the reduction.
  void start(const Bucket& bucket, Wire wire);
  /// Waits for the first half of a reduction over bf16 and begins the second;
  /// nothing to do for one in a single operation.
  void advance();
  /// Waits for the end.
  void finish();

 private:
  const Bucket* bucket_ = nullptr;
  Work work_;
  /// bf16 [numel]: from all ranks, what this rank is to add.
  at::Tensor parts_;
  /// bf16 [numel]: the sums of all ranks.
  at::Tensor sums_;
};

}  // namespace mumoe::dist

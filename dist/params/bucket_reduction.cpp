#include "dist/params/bucket_reduction.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace mumoe::dist {

void BucketReduction::start(const Bucket& bucket, Wire wire) {
  bucket_ = &bucket;
  Communicator& group = *bucket.group;
  // A reduction in place may have left something behind the gradients.
  if (bucket.used() < bucket.numel()) {
    bucket.grad.narrow(0, bucket.used(), bucket.numel() - bucket.used())
        .zero_();
  }
  if (wire == Wire::bf16 && group.size() > 1) {
    const at::Tensor rounded = bucket.grad.to(at::kBFloat16);
    parts_ = at::empty_like(rounded);
    work_ = group.all_to_all_async(rounded, parts_);
  } else if (bucket.is_sharded()) {
    work_ =
        group.reduce_scatter_async(bucket.grad, bucket.owned.of(bucket.grad));
  } else {
    work_ = group.all_reduce_async(bucket.grad);
  }
}

void BucketReduction::advance() {
  if (!parts_.defined()) return;
  work_.wait();
  work_ = {};
  Communicator& group = *bucket_->group;
  const at::Tensor parts = parts_.view({group.size(), -1});
  parts_.reset();
  const Interval own{group.rank() * parts.size(1), parts.size(1)};
  const at::Tensor sum = own.of(bucket_->grad);
  sum.copy_(parts[0]);
  for (int r = 1; r < group.size(); ++r) sum.add_(parts[r]);
  if (bucket_->is_sharded()) return;
  sums_ = at::empty({bucket_->numel()}, parts.options());
  own.of(sums_).copy_(sum);
  work_ = group.all_gather_async(own.of(sums_), sums_);
}

void BucketReduction::finish() {
  MUMOE_CHECK(!parts_.defined(), "finish() before advance()");
  work_.wait();
  work_ = {};
  if (!sums_.defined()) return;
  bucket_->grad.copy_(sums_);
  sums_.reset();
}

}  // namespace mumoe::dist

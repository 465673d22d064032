#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "dist/params/flat_buckets.h"
#include "mumoe/safetensors.h"

// Whole tensors into and out of flat buckets, by global name.

namespace mumoe::testing {

/// Sets all weights from `whole`.
inline void set_weights(dist::FlatBuckets& buckets, const NamedTensors& whole) {
  at::NoGradGuard no_grad;
  for (const auto& bucket : buckets.buckets()) {
    for (const auto& entry : bucket.entries) {
      buckets.assign(whole.at(buckets.parameter(entry).name), bucket, entry);
    }
  }
}

/// All tensors of one kind: &Bucket::master, &Bucket::grad. Collective when
/// they are cut or sharded. Buffers have no gradient.
inline NamedTensors whole_tensors(const dist::FlatBuckets& buckets,
                                  at::Tensor dist::Bucket::*flat) {
  at::NoGradGuard no_grad;
  NamedTensors whole;
  for (const auto& bucket : buckets.buckets()) {
    at::Tensor shard = bucket.*flat;
    if (!shard.defined()) continue;
    if (shard.numel() == bucket.numel()) shard = bucket.owned.of(shard);
    const at::Tensor all = buckets.unshard(bucket, shard);
    for (const auto& entry : bucket.entries) {
      whole.tensors[buckets.parameter(entry).name] =
          buckets.gather(all, entry).clone();
    }
  }
  return whole;
}

/// ‖a − b‖ / ‖b‖ in fp64; ‖a‖ where b is zero.
inline double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const auto wide_a = a.detach().to(at::kCPU, at::kDouble).flatten();
  const auto wide_b = b.detach().to(at::kCPU, at::kDouble).flatten();
  const double scale = wide_b.norm().item<double>();
  const double error = (wide_a - wide_b).norm().item<double>();
  return scale > 0 ? error / scale : error;
}

}  // namespace mumoe::testing

#include "dist/flat_buckets.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"

namespace mumoe::dist {

FlatBuckets::FlatBuckets(const ParameterRegistry& registry,
                         std::int64_t bucket_bytes)
    : registry_(registry) {
  MUMOE_CHECK(bucket_bytes > 0);
  const auto master_dtype = registry.master_dtype();
  const std::int64_t limit =
      bucket_bytes / static_cast<std::int64_t>(c10::elementSize(master_dtype));

  // The open bucket of each kind, and how long it is.
  std::map<std::tuple<bool, bool, bool>, std::size_t> open;
  std::vector<std::int64_t> lengths;
  const auto& parameters = registry.parameters();
  for (std::size_t i = parameters.size(); i-- > 0;) {
    const Parameter& parameter = parameters[i];
    const std::tuple kind{parameter.placement.is_cut(),
                          parameter.decay,
                          parameter.full_precision};
    const std::int64_t numel = parameter.value.numel();
    const auto found = open.find(kind);
    if (found == open.end() || lengths[found->second] + numel > limit) {
      open[kind] = buckets_.size();
      buckets_.push_back(
          {.cut = parameter.placement.is_cut(), .decay = parameter.decay});
      lengths.push_back(0);
    }
    const std::size_t index = open[kind];
    buckets_[index].entries.push_back({i, lengths[index], numel});
    lengths[index] += numel;
  }

  // In the order in which backward completes them: by the parameter that comes
  // last, which is the one nearest the model's front.
  std::sort(buckets_.begin(),
            buckets_.end(),
            [](const Bucket& a, const Bucket& b) {
              return a.entries.back().parameter > b.entries.back().parameter;
            });

  for (Bucket& bucket : buckets_) {
    const std::int64_t length =
        bucket.entries.back().offset + bucket.entries.back().numel;
    const auto options =
        at::TensorOptions(master_dtype).device(registry.device());
    bucket.master = at::zeros({length}, options);
    bucket.grad = at::zeros({length}, options);
    const auto compute_dtype =
        parameter(bucket.entries.front()).value.scalar_type();
    bucket.compute = compute_dtype == master_dtype
                         ? bucket.master
                         : at::zeros({length}, options.dtype(compute_dtype));
    for (const BucketEntry& entry : bucket.entries) {
      const at::Tensor& value = parameters[entry.parameter].value;
      at::Tensor handle = value;
      handle.set_data(view(bucket.compute, entry));
    }
  }
}

void FlatBuckets::initialise(std::uint64_t seed) {
  for (const Bucket& bucket : buckets_) {
    for (const BucketEntry& entry : bucket.entries) {
      const Parameter& p = parameter(entry);
      const at::Tensor values =
          at::empty(p.value.sizes(),
                    at::TensorOptions(bucket.master.scalar_type()));
      initialise_slice(registry_, p, seed, values);
      view(bucket.master, entry).copy_(values);
    }
  }
  refresh_compute();
}

at::Tensor FlatBuckets::view(const at::Tensor& flat,
                             const BucketEntry& entry) const {
  return flat.narrow(0, entry.offset, entry.numel)
      .view(parameter(entry).value.sizes());
}

at::Tensor FlatBuckets::gather(const at::Tensor& flat,
                               const BucketEntry& entry) const {
  return registry_.gather(parameter(entry), view(flat, entry));
}

void FlatBuckets::scatter(const at::Tensor& whole,
                          const BucketEntry& entry,
                          const at::Tensor& flat) const {
  view(flat, entry).copy_(registry_.cut(parameter(entry), whole));
}

void FlatBuckets::refresh_compute() {
  for (const Bucket& bucket : buckets_) {
    if (!bucket.compute.is_same(bucket.master)) {
      bucket.compute.copy_(bucket.master);
    }
  }
}

}  // namespace mumoe::dist

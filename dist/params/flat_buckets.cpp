#include "dist/params/flat_buckets.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"
#include "dist/self_communicator.h"

namespace mumoe::dist {
namespace {

bool has_copy(const Bucket& bucket) {
  return bucket.compute.scalar_type() != bucket.master.scalar_type();
}

/// Writes what `bucket.owned` has of `slice`, the values of `entry`.
void write_owned(const at::Tensor& slice,
                 const Bucket& bucket,
                 const BucketEntry& entry,
                 const at::Tensor& shard) {
  const Interval& owned = bucket.owned;
  const std::int64_t begin = std::max(entry.offset, owned.begin);
  const std::int64_t end =
      std::min(entry.offset + entry.numel, owned.begin + owned.count);
  if (begin >= end) return;
  shard.narrow(0, begin - owned.begin, end - begin)
      .copy_(slice.flatten().narrow(0, begin - entry.offset, end - begin));
}

}  // namespace

at::Tensor Interval::of(const at::Tensor& flat) const {
  return flat.narrow(0, begin, count);
}

FlatBuckets::FlatBuckets(const ParameterRegistry& registry,
                         std::int64_t bucket_bytes)
    : registry_(registry), self_(make_self_communicator(registry.device())) {
  fill(bucket_bytes);
  for (Bucket& bucket : buckets_) {
    bucket.group = self_.get();
    lay_out(bucket, 1, 0, false);
    allocate(bucket);
  }
}

FlatBuckets::FlatBuckets(const ParameterRegistry& registry,
                         const ProcessMesh& mesh,
                         const BucketOptions& options)
    : registry_(registry) {
  MUMOE_CHECK(options.zero == 0 || options.zero == 1, "zero {}", options.zero);
  fill(options.bytes);
  for (Bucket& bucket : buckets_) {
    // All ranks that compute with these weights. Those that also own the same
    // part of them share the work of the norm.
    const Communicator& holders = bucket.cut ? mesh.dp() : mesh.all();
    const bool over_all = !bucket.cut && options.whole_is_partial;
    bucket.group = over_all ? &mesh.all() : &mesh.dp();
    if (options.zero == 0) {
      lay_out(bucket, holders.size(), holders.rank(), false);
    } else if (bucket.cut || over_all) {
      lay_out(bucket, 1, 0, true);
    } else {
      lay_out(bucket, mesh.tp().size(), mesh.tp().rank(), true);
    }
    allocate(bucket);
  }
}

FlatBuckets::~FlatBuckets() {
  registry_.set_await({});
}

void FlatBuckets::fill(std::int64_t bucket_bytes) {
  MUMOE_CHECK(bucket_bytes > 0);
  registry_.set_await(
      [this](std::size_t first, std::size_t last) { await(first, last); });
  const std::int64_t limit =
      bucket_bytes /
      static_cast<std::int64_t>(c10::elementSize(registry_.master_dtype()));

  // The open bucket of each kind.
  std::map<std::tuple<bool, bool, bool>, std::size_t> open;
  const auto& parameters = registry_.parameters();
  for (std::size_t i = parameters.size(); i-- > 0;) {
    const Parameter& parameter = parameters[i];
    const std::tuple kind{parameter.placement.is_cut(),
                          parameter.decay,
                          parameter.full_precision};
    const std::int64_t numel = parameter.value.numel();
    const auto found = open.find(kind);
    if (found == open.end() || buckets_[found->second].used() + numel > limit) {
      open[kind] = buckets_.size();
      buckets_.push_back(
          {.cut = parameter.placement.is_cut(), .decay = parameter.decay});
    }
    Bucket& bucket = buckets_[open[kind]];
    bucket.entries.push_back({i, bucket.used(), numel});
  }

  // In the order in which backward completes them: by the parameter that comes
  // last, which is the one nearest the model's front.
  std::sort(buckets_.begin(),
            buckets_.end(),
            [](const Bucket& a, const Bucket& b) {
              return a.entries.back().parameter > b.entries.back().parameter;
            });
  gathers_.resize(buckets_.size());
  bucket_of_.resize(parameters.size());
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    for (const BucketEntry& entry : buckets_[b].entries) {
      bucket_of_[entry.parameter] = b;
    }
  }
}

// `copies` ranks own the same part; this one is number `copy` of them.
void FlatBuckets::lay_out(Bucket& bucket, int copies, int copy, bool sharded) {
  const Communicator& group = *bucket.group;
  const std::int64_t part = slice_of(bucket.used(), 0, group.size()).padded;
  bucket.owned = sharded ? Interval{group.rank() * part, part}
                         : Interval{0, group.size() * part};
  const Slice counted = slice_of(bucket.owned.count, copy, copies);
  bucket.counted = {bucket.owned.begin + counted.begin, counted.count};
}

void FlatBuckets::allocate(Bucket& bucket) {
  const auto options =
      at::TensorOptions(registry_.master_dtype()).device(registry_.device());
  const auto& group = *bucket.group;
  const std::int64_t length =
      slice_of(bucket.used(), 0, group.size()).padded * group.size();
  const auto compute_dtype =
      parameter(bucket.entries.front()).value.scalar_type();
  bucket.grad = at::zeros({length}, options);
  bucket.compute = at::zeros({length}, options.dtype(compute_dtype));
  bucket.master = compute_dtype == registry_.master_dtype()
                      ? bucket.owned.of(bucket.compute)
                      : at::zeros({bucket.owned.count}, options);
  for (const BucketEntry& entry : bucket.entries) {
    at::Tensor handle = parameter(entry).value;
    handle.set_data(view(bucket.compute, entry));
  }
}

void FlatBuckets::initialise(std::uint64_t seed) {
  await();
  const auto options = at::TensorOptions(registry_.master_dtype());
  for (const Bucket& bucket : buckets_) {
    for (const BucketEntry& entry : bucket.entries) {
      const Parameter& p = parameter(entry);
      const at::Tensor values = at::empty(p.value.sizes(), options);
      initialise_slice(registry_, p, seed, values);
      assign_slice(values, bucket, entry);
    }
  }
}

void FlatBuckets::assign(const at::Tensor& whole,
                         const Bucket& bucket,
                         const BucketEntry& entry) {
  await();
  assign_slice(registry_.cut(parameter(entry), whole), bucket, entry);
}

void FlatBuckets::assign_slice(const at::Tensor& slice,
                               const Bucket& bucket,
                               const BucketEntry& entry) {
  // The compute weights are the rounded masters, whatever `slice` is.
  const at::Tensor values = slice.to(bucket.master.scalar_type());
  view(bucket.compute, entry).copy_(values);
  if (has_copy(bucket)) write_owned(values, bucket, entry, bucket.master);
}

void FlatBuckets::refresh_compute() {
  await();
  for (std::size_t b = buckets_.size(); b-- > 0;) {
    const Bucket& bucket = buckets_[b];
    if (has_copy(bucket)) {
      bucket.owned.of(bucket.compute).copy_(bucket.master);
    }
    start_gather(b);
  }
  await();
}

void FlatBuckets::start_gather(std::size_t index) {
  const Bucket& bucket = buckets_[index];
  if (!bucket.is_sharded()) return;
  await_bucket(index);
  gathers_[index] =
      bucket.group->all_gather_async(bucket.owned.of(bucket.compute),
                                     bucket.compute);
}

void FlatBuckets::await(std::size_t first, std::size_t last) const {
  for (std::size_t i = first; i < last; ++i) await_bucket(bucket_of_[i]);
}

void FlatBuckets::await() const {
  // In the order in which they were started.
  for (std::size_t b = buckets_.size(); b-- > 0;) await_bucket(b);
}

void FlatBuckets::await_bucket(std::size_t index) const {
  std::optional<Work>& gather = gathers_[index];
  if (!gather) return;
  gather->wait();
  gather.reset();
}

at::Tensor FlatBuckets::unshard(const Bucket& bucket,
                                const at::Tensor& shard) const {
  if (!bucket.is_sharded()) return shard;
  await();
  const at::Tensor flat = at::empty({bucket.numel()}, shard.options());
  bucket.group->all_gather(shard, flat);
  return flat;
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
                          const Bucket& bucket,
                          const BucketEntry& entry,
                          const at::Tensor& shard) const {
  write_owned(registry_.cut(parameter(entry), whole), bucket, entry, shard);
}

}  // namespace mumoe::dist

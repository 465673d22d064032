#include "dist/params/flat_buckets.h"

#include <ATen/ATen.h>

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
  const Piece piece = piece_of(entry, bucket.owned);
  if (piece.count == 0) return;
  shard.narrow(0, piece.offset, piece.count)
      .copy_(slice.flatten().narrow(0, piece.begin, piece.count));
}

/// What the handles of a bucket's parameters hold while its weights are on
/// their way: whoever reads them gets an error, never old weights.
c10::Storage absent(const Bucket& bucket) {
  auto storage = c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(),
      bucket.compute.nbytes(),
      c10::DataPtr(nullptr, bucket.compute.device()),
      nullptr,
      /*resizable=*/false);
  storage->release_data_and_set_meta_custom_data_ptr_error_msg_(
      "weights are read that are on their way from other ranks: "
      "ParameterRegistry::await comes before");
  return c10::Storage(std::move(storage));
}

}  // namespace

FlatBuckets::FlatBuckets(const ParameterRegistry& registry,
                         const BucketOptions& options)
    : registry_(registry),
      self_(make_self_communicator(registry.device())),
      layout_(lay_out(registry.parameters(),
                      registry.compute_dtype(),
                      {.dp = 1, .tp = registry.tp().size()},
                      options)) {
  allocate(registry.tp().rank(), *self_, *self_);
}

FlatBuckets::FlatBuckets(const ParameterRegistry& registry,
                         const ProcessMesh& mesh,
                         const BucketOptions& options)
    : registry_(registry),
      layout_(lay_out(registry.parameters(),
                      registry.compute_dtype(),
                      mesh.shape(),
                      options)) {
  allocate(mesh.dp_tp().rank(), mesh.dp(), mesh.dp_tp());
}

FlatBuckets::~FlatBuckets() {
  registry_.set_await({});
}

// `rank`: of the layout's mesh.
void FlatBuckets::allocate(int rank, Communicator& dp, Communicator& all) {
  const auto wide =
      at::TensorOptions(registry_.master_dtype()).device(registry_.device());
  gathers_.resize(layout_.buckets.size());
  bucket_of_.resize(registry_.parameters().size());
  for (std::size_t b = 0; b < layout_.buckets.size(); ++b) {
    Bucket& bucket = buckets_.emplace_back(layout_.buckets[b]);
    bucket.group = bucket.over_all ? &all : &dp;
    bucket.owned = owned(layout_, b, rank);
    bucket.counted = counted(layout_, b, rank);
    const auto compute =
        bucket.full_precision ? wide : wide.dtype(layout_.compute);
    bucket.compute = at::zeros({bucket.numel()}, compute);
    bucket.master = compute.dtype() == wide.dtype()
                        ? bucket.owned.of(bucket.compute)
                        : at::zeros({bucket.owned.count}, wide);
    if (bucket.trained) bucket.grad = at::zeros({bucket.numel()}, wide);
    for (const BucketEntry& entry : bucket.entries) {
      bucket_of_[entry.parameter] = b;
      at::Tensor handle = parameter(entry).value;
      handle.set_data(view(bucket.compute, entry));
    }
  }
  registry_.set_await(
      [this](std::size_t first, std::size_t last) { await(first, last); });
}

void FlatBuckets::initialise(std::uint64_t seed) {
  await();
  for (const Bucket& bucket : buckets_) {
    initialise(bucket, bucket.owned, seed, bucket.master);
  }
  refresh_compute();
}

void FlatBuckets::initialise_alone(std::uint64_t seed) {
  await();
  for (const Bucket& bucket : buckets_) {
    initialise(bucket, {0, bucket.numel()}, seed, bucket.compute);
    if (has_copy(bucket)) {
      initialise(bucket, bucket.owned, seed, bucket.master);
    }
  }
}

void FlatBuckets::initialise(const Bucket& bucket,
                             const Interval& interval,
                             std::uint64_t seed,
                             const at::Tensor& out) const {
  const auto options = at::TensorOptions(registry_.master_dtype());
  for (const BucketEntry& entry : bucket.entries) {
    registry_.set_given(entry.parameter);
    const Piece piece = piece_of(entry, interval);
    if (piece.count == 0) continue;
    const at::Tensor values = at::empty({piece.count}, options);
    initialise_slice(registry_, parameter(entry), seed, piece.begin, values);
    out.narrow(0, piece.offset, piece.count).copy_(values);
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
  registry_.set_given(entry.parameter);
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
  set_storage(bucket, absent(bucket));
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
  set_storage(buckets_[index], buckets_[index].compute.storage());
}

void FlatBuckets::set_storage(const Bucket& bucket,
                              const c10::Storage& storage) const {
  for (const BucketEntry& entry : bucket.entries) {
    const at::Tensor& handle = parameter(entry).value;
    handle.unsafeGetTensorImpl()->set_storage_keep_dtype(storage);
  }
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

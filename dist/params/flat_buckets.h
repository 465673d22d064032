#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dist/params/bucket_layout.h"
#include "dist/process_mesh.h"

namespace mumoe::dist {

/// The memory of one bucket, as flat 1-D tensors of `numel()` elements.
struct Bucket : BucketShape {
  /// The ranks over which the gradient is summed; all compute with the same
  /// weights.
  Communicator* group = nullptr;
  /// What this rank updates, and counts in the norm (bucket_layout.h).
  Interval owned = {};
  Interval counted = {};
  /// The weights that the optimizer updates, fp32 (fp64 in an fp64 run):
  /// [owned.count]. A part of `compute` when the dtypes agree.
  at::Tensor master = {};
  /// The weights the model computes with; the parameters' values are views of
  /// it.
  at::Tensor compute = {};
  /// Gradients in the dtype of `master`; summed in `owned` alone. Undefined for
  /// buffers.
  at::Tensor grad = {};
};

/// The memory of all parameters of a registry, laid out by `lay_out`.
///
/// Beside "flat" tensors, parallel to a whole bucket, there are "shards",
/// parallel to the part of it that this rank owns.
///
/// Thread safety: one thread at a time.
class FlatBuckets {
 public:
  /// Moves the registry's values into flat storage, and answers its `await`.
  /// Values stay undefined until `initialise` or `assign`. `mesh` must outlive
  /// the buckets.
  FlatBuckets(const ParameterRegistry& registry,
              const ProcessMesh& mesh,
              const BucketOptions& options);
  /// The same for one rank: nothing is summed, nothing is sharded.
  FlatBuckets(const ParameterRegistry& registry, const BucketOptions& options);
  FlatBuckets(const ParameterRegistry& registry, std::int64_t bucket_bytes)
      : FlatBuckets(registry, BucketOptions{.bytes = bucket_bytes}) {}
  ~FlatBuckets();
  FlatBuckets(const FlatBuckets&) = delete;
  FlatBuckets& operator=(const FlatBuckets&) = delete;

  /// Sets all weights to their initial values: each rank draws what it owns.
  /// Collective over the groups of sharded buckets.
  void initialise(std::uint64_t seed);
  /// The same, of a rank whose group is not there (null_communicator.h).
  void initialise_alone(std::uint64_t seed);
  /// Sets the weights of `entry` from the whole tensor in its global shape.
  /// Throws `InternalError` when the shape is not the parameter's.
  void assign(const at::Tensor& whole,
              const Bucket& bucket,
              const BucketEntry& entry);
  /// Sets the compute weights from the masters. Collective over the groups of
  /// sharded buckets.
  void refresh_compute();

  /// Starts to bring the weights that the ranks of bucket `index` own, and have
  /// updated, to all of them; nothing where none is sharded. Collective over
  /// its group. Until `await`, reading the parameters' values throws
  /// `c10::Error`.
  void start_gather(std::size_t index);
  /// Waits for the weights of parameters [first, last), as indices into
  /// `ParameterRegistry::parameters()`. Cheap when they have come. On CUDA it
  /// orders the current stream and returns at once.
  void await(std::size_t first, std::size_t last) const;
  /// Waits for all weights.
  void await() const;

  const ParameterRegistry& registry() const { return registry_; }
  const BucketLayout& layout() const { return layout_; }
  /// In the order of the layout.
  const std::vector<Bucket>& buckets() const { return buckets_; }

  /// The flat tensor of which every rank of the bucket's group gives its
  /// `shard`; `shard` itself where the bucket is not sharded. Collective over
  /// the group of a sharded bucket.
  at::Tensor unshard(const Bucket& bucket, const at::Tensor& shard) const;
  /// `entry`'s part of `flat` as the whole tensor in its global shape.
  /// Collective over tp for a cut parameter.
  at::Tensor gather(const at::Tensor& flat, const BucketEntry& entry) const;
  /// The reverse: writes what this rank owns of `whole` into `shard`. Throws
  /// `InternalError` when the shape is not the parameter's.
  void scatter(const at::Tensor& whole,
               const Bucket& bucket,
               const BucketEntry& entry,
               const at::Tensor& shard) const;

  /// `entry`'s part of `flat` in the shape of this rank's slice.
  at::Tensor view(const at::Tensor& flat, const BucketEntry& entry) const;
  /// The registry's parameter of `entry`.
  const Parameter& parameter(const BucketEntry& entry) const {
    return registry_.parameters()[entry.parameter];
  }

 private:
  void allocate(int rank, Communicator& dp, Communicator& all);
  /// Writes the initial values of `interval` to `out`, parallel to it.
  void initialise(const Bucket& bucket,
                  const Interval& interval,
                  std::uint64_t seed,
                  const at::Tensor& out) const;
  void assign_slice(const at::Tensor& slice,
                    const Bucket& bucket,
                    const BucketEntry& entry);
  void await_bucket(std::size_t index) const;
  /// Where the values of the bucket's parameters lie.
  void set_storage(const Bucket& bucket, const c10::Storage& storage) const;

  const ParameterRegistry& registry_;
  /// The group of buckets without a mesh.
  std::unique_ptr<Communicator> self_;
  BucketLayout layout_;
  std::vector<Bucket> buckets_;
  /// By parameter: its bucket.
  std::vector<std::size_t> bucket_of_;
  /// By bucket: the gather of its weights, until it has been waited for.
  mutable std::vector<std::optional<Work>> gathers_;
};

}  // namespace mumoe::dist

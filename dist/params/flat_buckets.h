#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "dist/process_mesh.h"

namespace mumoe::dist {

/// Where one parameter lies in a bucket.
struct BucketEntry {
  /// Index into `ParameterRegistry::parameters()`.
  std::size_t parameter;
  std::int64_t offset;
  std::int64_t numel;
};

/// Elements [begin, begin + count) of a bucket.
struct Interval {
  std::int64_t begin = 0;
  std::int64_t count = 0;

  /// That part of `flat`, a tensor parallel to the bucket.
  at::Tensor of(const at::Tensor& flat) const;
};

/// Parameters of one kind (cut or replicated over tp; decayed or not; rounded
/// for computing or not) as flat 1-D tensors: one after the other, then zeros
/// up to a multiple of the group's size.
struct Bucket {
  bool cut = false;
  bool decay = false;
  std::vector<BucketEntry> entries = {};
  /// The ranks over which the gradient is summed; all compute with the same
  /// weights.
  Communicator* group = nullptr;
  /// What this rank updates: the whole bucket or, with ZeRO, part `rank` of as
  /// many as the group has ranks.
  Interval owned = {};
  /// The part of `owned` whose squares this rank adds to the norm, so that over
  /// the world each element of the model counts once.
  Interval counted = {};
  /// The weights that the optimizer updates, fp32 (fp64 in an fp64 run):
  /// [owned.count]. A part of `compute` when the dtypes agree.
  at::Tensor master = {};
  /// The weights the model computes with, [numel]; the parameters' values are
  /// views of it.
  at::Tensor compute = {};
  /// Gradients in the dtype of `master`, [numel]; summed in `owned` alone.
  at::Tensor grad = {};

  std::int64_t numel() const { return grad.numel(); }
  /// Without the zeros at the end.
  std::int64_t used() const {
    return entries.empty() ? 0 : entries.back().offset + entries.back().numel;
  }
  /// Whether each rank of the group owns a part of its own.
  bool is_sharded() const { return owned.count < numel(); }
};

struct BucketOptions {
  /// Of gradient in a bucket, about; a larger parameter has one of its own.
  std::int64_t bytes = std::int64_t{4} << 20;
  /// 1: each rank of a bucket's group keeps master and optimizer state of its
  /// own part only (ZeRO-1; Rajbhandari et al., arXiv 1910.02054).
  int zero = 0;
  /// Whether the gradients of parameters that are whole on all tp ranks are
  /// partial there (tokens are cut over tp). Their buckets' group is then all
  /// ranks, so that one sum does both.
  bool whole_is_partial = false;
};

/// The storage of all parameters of a registry. Buckets are filled in reverse
/// order of registration, since backward finishes the last layers first, and
/// stand in the order in which it completes them; the reverse is the order in
/// which forward needs them.
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
  FlatBuckets(const ParameterRegistry& registry, std::int64_t bucket_bytes);
  ~FlatBuckets();
  FlatBuckets(const FlatBuckets&) = delete;
  FlatBuckets& operator=(const FlatBuckets&) = delete;

  /// Sets all weights to their initial values.
  void initialise(std::uint64_t seed);
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
  /// its group. `await` before the weights are read.
  void start_gather(std::size_t index);
  /// Waits for the weights of parameters [first, last), as indices into
  /// `ParameterRegistry::parameters()`. Cheap when they have come. On CUDA it
  /// orders the current stream and returns at once.
  void await(std::size_t first, std::size_t last) const;
  /// Waits for all weights.
  void await() const;

  const ParameterRegistry& registry() const { return registry_; }
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
  void fill(std::int64_t bucket_bytes);
  void lay_out(Bucket& bucket, int copies, int copy, bool sharded);
  void allocate(Bucket& bucket);
  void assign_slice(const at::Tensor& slice,
                    const Bucket& bucket,
                    const BucketEntry& entry);
  void await_bucket(std::size_t index) const;

  const ParameterRegistry& registry_;
  /// The group of buckets without a mesh.
  std::unique_ptr<Communicator> self_;
  std::vector<Bucket> buckets_;
  /// By parameter: its bucket.
  std::vector<std::size_t> bucket_of_;
  /// By bucket: the gather of its weights, until it has been waited for.
  mutable std::vector<std::optional<Work>> gathers_;
};

}  // namespace mumoe::dist

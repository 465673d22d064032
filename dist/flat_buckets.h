#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dist/parameter_registry.h"

namespace mumoe::dist {

/// Where one parameter lies in a bucket.
struct BucketEntry {
  /// Index into `ParameterRegistry::parameters()`.
  std::size_t parameter;
  std::int64_t offset;
  std::int64_t numel;
};

/// Parameters of one kind (cut or replicated over tp; decayed or not; rounded
/// for computing or not) as flat 1-D tensors of the same length.
struct Bucket {
  bool cut = false;
  bool decay = false;
  std::vector<BucketEntry> entries = {};
  /// The weights that the optimizer updates, fp32 (fp64 in an fp64 run).
  at::Tensor master = {};
  /// The weights the model computes with; the parameters' values are views of
  /// it. Shares memory with `master` when the dtypes agree.
  at::Tensor compute = {};
  /// Summed gradients, in the dtype of `master`.
  at::Tensor grad = {};

  std::int64_t numel() const { return master.numel(); }
};

/// The storage of all parameters of a registry. Buckets are filled in reverse
/// order of registration, since backward finishes the last layers first, and
/// stand in the order in which it completes them.
class FlatBuckets {
 public:
  /// Moves the registry's values into flat storage, in buckets of about
  /// `bucket_bytes` of gradient each (a larger parameter has one of its own).
  /// Values stay undefined until `initialise` or `load`.
  FlatBuckets(const ParameterRegistry& registry, std::int64_t bucket_bytes);

  /// Sets all masters to their initial values and rounds the compute weights.
  void initialise(std::uint64_t seed);
  /// Sets the compute weights from the masters.
  void refresh_compute();

  const ParameterRegistry& registry() const { return registry_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }
  /// `entry`'s part of `flat`, a tensor parallel to its bucket, as the whole
  /// tensor in its global shape. Collective over tp for a cut parameter.
  at::Tensor gather(const at::Tensor& flat, const BucketEntry& entry) const;
  /// The reverse: writes this rank's slice of `whole` into `flat`. Throws
  /// `InternalError` when the shape is not the parameter's.
  void scatter(const at::Tensor& whole,
               const BucketEntry& entry,
               const at::Tensor& flat) const;

  /// `entry`'s part of `flat` in the shape of this rank's slice.
  at::Tensor view(const at::Tensor& flat, const BucketEntry& entry) const;
  /// The registry's parameter of `entry`.
  const Parameter& parameter(const BucketEntry& entry) const {
    return registry_.parameters()[entry.parameter];
  }

 private:
  const ParameterRegistry& registry_;
  std::vector<Bucket> buckets_;
};

}  // namespace mumoe::dist

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "dist/process_mesh.h"

// Which parameters lie where in which bucket, and which rank owns what of it:
// of any mesh, without its ranks and without a tensor.

namespace mumoe::dist {

/// Where one parameter lies in a bucket.
struct BucketEntry {
  /// Index into the list of parameters.
  std::size_t parameter;
  std::int64_t offset;
  /// Of a rank's slice, padding included.
  std::int64_t numel;
};

/// Elements [begin, begin + count) of a bucket.
struct Interval {
  std::int64_t begin = 0;
  std::int64_t count = 0;

  /// That part of `flat`, a tensor parallel to the bucket.
  at::Tensor of(const at::Tensor& flat) const;
};

/// Elements of one parameter inside an interval of its bucket.
struct Piece {
  std::size_t parameter;
  /// In the rank's slice of it, flattened.
  std::int64_t begin;
  std::int64_t count;
  /// In the interval.
  std::int64_t offset;
};

struct BucketOptions {
  /// Of gradient in a bucket, about; a larger parameter has one of its own.
  std::int64_t bytes = std::int64_t{4} << 20;
  /// Elements of which every parameter begins at a multiple; zeros lie between.
  std::int64_t align = 1;
  /// 1: each rank of a bucket's group keeps master and optimizer state of its
  /// own part only (ZeRO-1; Rajbhandari et al., arXiv 1910.02054).
  int zero = 0;
  /// Whether the gradients of parameters that are whole on all tp ranks are
  /// partial there (tokens are cut over tp). Their buckets' group is then all
  /// ranks, so that one sum does both.
  bool whole_is_partial = false;
};

/// Parameters of one kind (cut or replicated over tp; decayed or not; rounded
/// for computing or not; trained or buffers), one after the other but for their
/// alignment, then zeros up to equal parts for the ranks of a group. The group:
/// the ranks over which the gradient is summed; all compute with the same
/// weights.
struct BucketShape {
  bool cut = false;
  bool decay = false;
  bool full_precision = false;
  bool trained = true;
  std::vector<BucketEntry> entries = {};
  /// The group is all ranks of the mesh; else it is dp.
  bool over_all = false;
  /// Ranks of the group.
  int ranks = 1;
  /// With ZeRO, as many as the group has ranks, each owned by one of them; else
  /// every rank owns, and updates, the whole bucket.
  int parts = 1;
  /// The group's parts are multiples of it, as offsets of entries are.
  std::int64_t align = 1;

  /// Without the zeros at the end.
  std::int64_t used() const {
    return entries.empty() ? 0 : entries.back().offset + entries.back().numel;
  }
  std::int64_t numel() const {
    return slice_of(used(), 0, ranks, align).padded * ranks;
  }
  bool is_sharded() const { return parts > 1; }
};

/// The buckets in the order in which backward completes them; the reverse is
/// the order in which forward needs them.
struct BucketLayout {
  MeshShape mesh;
  at::ScalarType compute = at::kFloat;
  /// Elements of the whole model, buffers not counted.
  std::int64_t parameters = 0;
  std::vector<BucketShape> buckets = {};
};

/// Deals parameters to buckets, in reverse order of registration, since
/// backward finishes the last layers first. `compute`: what the model computes
/// in. Values of parameters are not looked at.
BucketLayout lay_out(std::span<const Parameter> parameters,
                     at::ScalarType compute,
                     MeshShape mesh,
                     const BucketOptions& options);

/// What world rank `rank` updates of bucket `index`: the whole or, with ZeRO,
/// one of its parts.
Interval owned(const BucketLayout& layout, std::size_t index, int rank);
/// The part of it that the rank alone stands for, e.g. in a checkpoint: over
/// the world each element of the model is in one.
Interval share(const BucketLayout& layout, std::size_t index, int rank);
/// The part of it whose squares the rank adds to the norm: its share of what is
/// trained.
Interval counted(const BucketLayout& layout, std::size_t index, int rank);

/// What `interval` has of `entry`; it may be nothing.
Piece piece_of(const BucketEntry& entry, const Interval& interval);
/// What world rank `rank` owns of bucket `index`, parameter by parameter.
std::vector<Piece> pieces(const BucketLayout& layout,
                          std::size_t index,
                          int rank);

/// Bytes that every rank of a layout keeps, by purpose.
struct ParameterBytes {
  std::int64_t weights = 0;
  std::int64_t gradients = 0;
  /// AdamW's moments, and masters where they are not the weights themselves.
  std::int64_t optimizer = 0;
};
ParameterBytes bytes_a_rank(const BucketLayout& layout);

/// How gradients travel between ranks: as they are stored, or rounded to bf16
/// and added in the dtype of the masters.
enum class Wire { fp32, bf16 };

/// Bytes that one step's sums of gradients and gathers of weights move for a
/// rank over each axis, as `Communicator::total_bytes` counts them.
struct StepBytes {
  std::int64_t dp = 0;
  std::int64_t all = 0;
};
StepBytes bytes_a_step(const BucketLayout& layout, Wire wire = Wire::fp32);

}  // namespace mumoe::dist

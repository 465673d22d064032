#include "dist/params/bucket_layout.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <map>
#include <tuple>

#include "base/error.h"

namespace mumoe::dist {
namespace {

void set_group(BucketShape& bucket,
               MeshShape mesh,
               const BucketOptions& options) {
  // A buffer is the same on all ranks, and nobody updates it for the others.
  bucket.over_all = !bucket.cut && bucket.trained && options.whole_is_partial;
  bucket.ranks = bucket.over_all ? mesh.ranks() : mesh.dp;
  bucket.parts = options.zero == 1 && bucket.trained ? bucket.ranks : 1;
  bucket.align = options.align;
}

std::int64_t bytes_of(at::ScalarType dtype) {
  return static_cast<std::int64_t>(c10::elementSize(dtype));
}

/// Of a weight that the model computes with.
std::int64_t weight_bytes(const BucketLayout& layout,
                          const BucketShape& bucket) {
  return bytes_of(bucket.full_precision ? master_dtype(layout.compute)
                                        : layout.compute);
}

}  // namespace

at::Tensor Interval::of(const at::Tensor& flat) const {
  return flat.narrow(0, begin, count);
}

BucketLayout lay_out(std::span<const Parameter> parameters,
                     at::ScalarType compute,
                     MeshShape mesh,
                     const BucketOptions& options) {
  MUMOE_CHECK(options.bytes > 0, "buckets of {} bytes", options.bytes);
  MUMOE_CHECK(options.align > 0, "alignment of {}", options.align);
  MUMOE_CHECK(options.zero == 0 || options.zero == 1, "zero {}", options.zero);
  const std::int64_t limit = options.bytes / bytes_of(master_dtype(compute));

  BucketLayout layout{.mesh = mesh, .compute = compute};
  // The open bucket of each kind.
  std::map<std::tuple<bool, bool, bool, bool>, std::size_t> open;
  for (std::size_t i = parameters.size(); i-- > 0;) {
    const Parameter& p = parameters[i];
    if (p.trained || p.frozen) layout.parameters += p.global_numel();
    const BucketShape kind{.cut = p.placement.is_cut(),
                           .decay = p.decay,
                           .full_precision = p.full_precision,
                           .trained = p.trained};
    const std::tuple key{kind.cut,
                         kind.decay,
                         kind.full_precision,
                         kind.trained};
    const std::int64_t numel = c10::multiply_integers(p.slice_shape(mesh.tp));
    const auto found = open.find(key);
    if (found == open.end() ||
        layout.buckets[found->second].used() + numel > limit) {
      open[key] = layout.buckets.size();
      layout.buckets.push_back(kind);
    }
    BucketShape& bucket = layout.buckets[open[key]];
    bucket.entries.push_back(
        {i, rounded_up(bucket.used(), options.align), numel});
  }
  // In the order in which backward completes them: by the parameter that comes
  // last, which is the one nearest the model's front.
  std::ranges::sort(layout.buckets, std::greater(), [](const BucketShape& b) {
    return b.entries.back().parameter;
  });
  for (BucketShape& bucket : layout.buckets) set_group(bucket, mesh, options);
  return layout;
}

Interval owned(const BucketLayout& layout, std::size_t index, int rank) {
  const BucketShape& bucket = layout.buckets[index];
  const std::int64_t part = bucket.numel() / bucket.parts;
  if (!bucket.is_sharded()) return {0, part};
  const int place = bucket.over_all ? rank : layout.mesh.place_in_dp(rank);
  return {place * part, part};
}

Interval share(const BucketLayout& layout, std::size_t index, int rank) {
  const BucketShape& bucket = layout.buckets[index];
  const Interval own = owned(layout, index, rank);
  // Those that own the same share the work: the holders of a part.
  const MeshShape& mesh = layout.mesh;
  const int holders = bucket.cut ? mesh.dp : mesh.ranks();
  const int copies = holders / bucket.parts;
  const int place = bucket.is_sharded() ? mesh.place_in_tp(rank)
                    : bucket.cut        ? mesh.place_in_dp(rank)
                                        : rank;
  const Slice part = slice_of(own.count, copies == 1 ? 0 : place, copies);
  return {own.begin + part.begin, part.count};
}

Interval counted(const BucketLayout& layout, std::size_t index, int rank) {
  const Interval part = share(layout, index, rank);
  return {part.begin, layout.buckets[index].trained ? part.count : 0};
}

Piece piece_of(const BucketEntry& entry, const Interval& interval) {
  const std::int64_t begin = std::max(entry.offset, interval.begin);
  const std::int64_t end =
      std::min(entry.offset + entry.numel, interval.begin + interval.count);
  return {.parameter = entry.parameter,
          .begin = begin - entry.offset,
          .count = std::max<std::int64_t>(0, end - begin),
          .offset = begin - interval.begin};
}

std::vector<Piece> pieces(const BucketLayout& layout,
                          std::size_t index,
                          int rank) {
  const Interval own = owned(layout, index, rank);
  std::vector<Piece> found;
  for (const BucketEntry& entry : layout.buckets[index].entries) {
    const Piece piece = piece_of(entry, own);
    if (piece.count > 0) found.push_back(piece);
  }
  return found;
}

ParameterBytes bytes_a_rank(const BucketLayout& layout) {
  const std::int64_t wide = bytes_of(master_dtype(layout.compute));
  ParameterBytes bytes;
  for (const BucketShape& bucket : layout.buckets) {
    const std::int64_t weight = weight_bytes(layout, bucket);
    bytes.weights += bucket.numel() * weight;
    if (!bucket.trained) {
      // Frozen weights have masters for checkpoints.
      if (weight != wide) bytes.weights += bucket.numel() * wide;
      continue;
    }
    bytes.gradients += bucket.numel() * wide;
    bytes.optimizer +=
        (weight == wide ? 2 : 3) * (bucket.numel() / bucket.parts) * wide;
  }
  return bytes;
}

StepBytes bytes_a_step(const BucketLayout& layout, Wire wire) {
  const std::int64_t wide = bytes_of(master_dtype(layout.compute));
  const std::int64_t sent = wire == Wire::bf16 ? bytes_of(at::kBFloat16) : wide;
  StepBytes bytes;
  for (const BucketShape& bucket : layout.buckets) {
    if (bucket.ranks == 1 || !bucket.trained) continue;
    // An all-reduce is a half that sums and one that gathers: sums, or the
    // weights made from them.
    const std::int64_t gathered =
        bucket.is_sharded() ? weight_bytes(layout, bucket) : sent;
    (bucket.over_all ? bytes.all : bytes.dp) +=
        bucket.numel() * (sent + gathered) / 2;
  }
  return bytes;
}

}  // namespace mumoe::dist

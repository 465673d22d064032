#include "run/part.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "base/error.h"
#include "mumoe/safetensors.h"
#include "run/slice_map.h"

namespace mumoe::run {
namespace {

using dist::Bucket;
using dist::BucketEntry;
using dist::FlatBuckets;
using dist::Interval;

/// Without the padding that lies among them: `places` are those of the memory
/// from `begin` on, of which `interval` are elements.
at::Tensor unpadded(const at::Tensor& places,
                    std::int64_t begin,
                    const SliceMap& map,
                    FileInterval interval) {
  const at::Tensor elements = at::empty({interval.count}, places.options());
  const std::size_t size = places.element_size();
  const char* from = static_cast<const char*>(places.const_data_ptr());
  char* to = static_cast<char*>(elements.data_ptr());
  for (const Copy& copy : copies_between(map, interval, map, interval)) {
    std::memcpy(
        to + static_cast<std::size_t>(copy.from - interval.first) * size,
        from + static_cast<std::size_t>(copy.memory - begin) * size,
        static_cast<std::size_t>(copy.count) * size);
  }
  return elements;
}

/// What `interval` of its bucket, which `shard` is parallel to from `origin`
/// on, has of `entry`.
PartTensor tensor_of(const std::string& prefix,
                     const FlatBuckets& buckets,
                     const BucketEntry& entry,
                     const Interval& interval,
                     const at::Tensor& shard,
                     std::int64_t origin,
                     bool copy) {
  const dist::Parameter& parameter = buckets.parameter(entry);
  const auto& tp = buckets.registry().tp();
  const SliceMap map(parameter, tp.rank(), tp.size());
  const dist::Piece piece = dist::piece_of(entry, interval);
  const std::int64_t first = map.before(piece.begin);
  const std::int64_t count = map.before(piece.begin + piece.count) - first;
  PartTensor tensor{prefix + parameter.name,
                    parameter.global_shape,
                    {0, 0, map.begin(), map.extent(), first, count},
                    {}};
  if (count == 0) return tensor;
  const at::Tensor places =
      shard.narrow(0, interval.begin + piece.offset - origin, piece.count);
  const at::Tensor here = places.cpu();
  at::Tensor& values = tensor.values;
  if (map.is_padded()) {
    values = unpadded(here, piece.begin, map, {first, count});
  } else {
    values = copy && here.is_alias_of(shard) ? here.clone() : here;
  }
  if (count == map.numel()) values = values.view(map.extent());
  return tensor;
}

std::string_view bytes_in(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace

std::vector<std::pair<std::string, at::Tensor>> shards_of(
    const FlatBuckets& buckets,
    std::size_t index,
    const OptimizerState& optimizer) {
  std::vector<std::pair<std::string, at::Tensor>> shards = {
      {kMaster, buckets.buckets()[index].master}};
  if (!buckets.buckets()[index].trained) return shards;
  for (const Moment& moment : optimizer) {
    shards.emplace_back(moment.name + ".", moment.shards[index]);
  }
  return shards;
}

Part part_of(const FlatBuckets& buckets,
             const OptimizerState& optimizer,
             int rank,
             bool copy) {
  const at::NoGradGuard no_grad;
  buckets.await();
  Part part;
  for (std::size_t b = 0; b < buckets.buckets().size(); ++b) {
    const Bucket& bucket = buckets.buckets()[b];
    const Interval interval = dist::share(buckets.layout(), b, rank);
    for (const auto& [prefix, shard] : shards_of(buckets, b, optimizer)) {
      for (const BucketEntry& entry : bucket.entries) {
        PartTensor tensor = tensor_of(prefix,
                                      buckets,
                                      entry,
                                      interval,
                                      shard,
                                      bucket.owned.begin,
                                      copy);
        if (tensor.piece.count > 0) part.push_back(std::move(tensor));
      }
    }
  }
  return part;
}

std::int64_t bytes_of(const Part& part) {
  std::int64_t bytes = 0;
  for (const PartTensor& tensor : part) {
    bytes += static_cast<std::int64_t>(tensor.values.nbytes());
  }
  return bytes;
}

std::string part_name(int rank) {
  return fmt::format("rank_{:05}.safetensors", rank);
}

WrittenPart write_part(Disk& disk,
                       const std::filesystem::path& folder,
                       int rank,
                       const Part& part,
                       const RunState& state) {
  std::vector<TensorHeader> headers;
  for (const PartTensor& tensor : part) {
    headers.push_back({tensor.name,
                       tensor.values.scalar_type(),
                       tensor.values.sizes().vec()});
  }
  const SafetensorsHead head = safetensors_head(
      headers,
      {{"step", std::to_string(state.step)}, {"see", kManifest}});
  const std::string name = part_name(rank);
  Disk::File file(disk, folder / name);
  BlockHasher hasher;
  const auto write = [&](std::string_view bytes) {
    hasher.add(bytes);
    file.write(bytes);
  };
  write(head.bytes);
  std::map<std::string, StoredTensor> tensors;
  for (std::size_t t = 0; t < part.size(); ++t) {
    write(bytes_in(part[t].values));
    StoredPiece piece = part[t].piece;
    piece.offset = head.offsets[t];
    tensors[part[t].name] = {part[t].global_shape,
                             part[t].values.scalar_type(),
                             {std::move(piece)}};
  }
  file.sync();
  CheckedFile written = hasher.finish(name);
  std::string text = tensors_to_text(tensors, written);
  return {std::move(written), std::move(text)};
}

}  // namespace mumoe::run

#include "run/load_checkpoint.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/self_communicator.h"
#include "run/agreed_errors.h"
#include "run/part.h"
#include "run/rebuild.h"
#include "run/slice_map.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using dist::Bucket;
using dist::BucketEntry;
using dist::FlatBuckets;

/// What this rank owns of one tensor, and where that goes.
struct Target {
  std::string name;
  const StoredTensor* stored;
  SliceMap map;
  FileInterval interval;
  /// On the CPU, parallel to the slice's memory from place `begin` on.
  at::Tensor places;
  std::int64_t begin;
  /// On a GPU, what `places` is copied to.
  at::Tensor shard;
};

const StoredTensor& stored_for(const dist::Parameter& parameter,
                               const std::string& name,
                               const Manifest& manifest,
                               const fs::path& checkpoint) {
  const auto found = manifest.tensors.find(name);
  require(found != manifest.tensors.end(),
          "{}: no tensor is named {}",
          checkpoint.string(),
          name);
  require(found->second.shape == parameter.global_shape,
          "{}: tensor {} has shape {}, expected {}",
          checkpoint.string(),
          name,
          at::IntArrayRef(found->second.shape),
          at::IntArrayRef(parameter.global_shape));
  return found->second;
}

std::vector<Target> targets_of(const Manifest& manifest,
                               const fs::path& checkpoint,
                               const FlatBuckets& buckets,
                               const OptimizerState& optimizer) {
  std::vector<Target> targets;
  const auto& tp = buckets.registry().tp();
  for (std::size_t b = 0; b < buckets.buckets().size(); ++b) {
    const Bucket& bucket = buckets.buckets()[b];
    for (const auto& [prefix, shard] : shards_of(buckets, b, optimizer)) {
      shard.zero_();  // padding, and what lies between parameters
      for (const BucketEntry& entry : bucket.entries) {
        const dist::Parameter& p = buckets.parameter(entry);
        const std::string name = prefix + p.name;
        const auto& stored = stored_for(p, name, manifest, checkpoint);
        const dist::Piece piece = dist::piece_of(entry, bucket.owned);
        if (piece.count == 0) continue;
        SliceMap map(p, tp.rank(), tp.size());
        const std::int64_t first = map.before(piece.begin);
        const FileInterval interval{
            first,
            map.before(piece.begin + piece.count) - first};
        const at::Tensor part = shard.narrow(0, piece.offset, piece.count);
        const bool here = part.is_cpu();
        targets.push_back(
            {name,
             &stored,
             std::move(map),
             interval,
             here ? part
                  : at::zeros_like(part, part.options().device(at::kCPU)),
             piece.begin,
             here ? at::Tensor() : part});
      }
    }
  }
  return targets;
}

/// A piece of a file, of which a target wants something.
struct Wanted {
  const StoredPiece* piece;
  Target* target;
};

void read_piece(CheckedReader& reader, const Wanted& wanted, Loaded& loaded) {
  const StoredPiece& piece = *wanted.piece;
  Target& target = *wanted.target;
  const StoredTensor& stored = *target.stored;
  const SliceMap source(stored.shape, piece.begin, piece.extent);
  const auto copies = copies_between(source,
                                     {piece.first, piece.count},
                                     target.map,
                                     target.interval);
  const auto element =
      static_cast<std::int64_t>(c10::elementSize(stored.dtype));
  const bool same = stored.dtype == target.places.scalar_type();
  char* const memory = static_cast<char*>(target.places.data_ptr());
  for (const Copy& copy : copies) {
    const std::int64_t from =
        piece.offset + (copy.from - piece.first) * element;
    const std::int64_t place = copy.memory - target.begin;
    const auto bytes = static_cast<std::size_t>(copy.count * element);
    loaded.bytes += copy.count * element;
    if (same) {
      reader.read(from, {memory + place * element, bytes}, target.name);
      continue;
    }
    const at::Tensor raw = at::empty({copy.count}, stored.dtype);
    reader.read(from, {static_cast<char*>(raw.data_ptr()), bytes}, target.name);
    target.places.narrow(0, place, copy.count).copy_(raw);
  }
}

/// Reads what the targets want: file by file, in the order in which it lies.
RebuiltBlocks read_targets(const fs::path& checkpoint,
                           const Manifest& manifest,
                           std::span<Target> targets,
                           Loaded& loaded) {
  std::vector<std::vector<Wanted>> by_file(manifest.files.size());
  for (Target& target : targets) {
    for (const StoredPiece& piece : target.stored->pieces) {
      if (piece.count > 0) by_file[piece.file].push_back({&piece, &target});
    }
  }
  Rebuilder rebuilder(checkpoint, manifest);
  for (std::size_t f = 0; f < by_file.size(); ++f) {
    auto& wanted = by_file[f];
    if (wanted.empty()) continue;
    CheckedReader reader(checkpoint, manifest.files[f], rebuilder.of(f));
    std::ranges::sort(wanted, {}, [](const Wanted& w) {
      return w.piece->offset;
    });
    for (const Wanted& each : wanted) read_piece(reader, each, loaded);
    loaded.blocks += reader.blocks_read();
  }
  return rebuilder.rebuilt();
}

}  // namespace

Loaded load_checkpoint(const fs::path& checkpoint,
                       FlatBuckets& buckets,
                       const OptimizerState& optimizer,
                       dist::Communicator& world) {
  const at::NoGradGuard no_grad;
  Loaded loaded;
  RebuiltBlocks rebuilt;
  buckets.await();
  agree_on_damage(world, checkpoint, [&] {
    const Manifest manifest = read_manifest(checkpoint);
    auto targets = targets_of(manifest, checkpoint, buckets, optimizer);
    rebuilt = read_targets(checkpoint, manifest, targets, loaded);
    for (const Target& target : targets) {
      if (target.shard.defined()) target.shard.copy_(target.places);
    }
    loaded.state = manifest.state;
  });
  loaded.rebuilt = rebuilt_lines(gather_rebuilt(world, rebuilt));
  buckets.registry().set_given();
  buckets.refresh_compute();
  return loaded;
}

Loaded load_weights(const fs::path& checkpoint, FlatBuckets& buckets) {
  const auto self = dist::make_self_communicator(at::kCPU);
  return load_checkpoint(checkpoint, buckets, {}, *self);
}

}  // namespace mumoe::run

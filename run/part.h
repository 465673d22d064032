#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/disk.h"
#include "dist/params/flat_buckets.h"
#include "run/manifest.h"
#include "run/optimizer_state.h"

namespace mumoe::run {

/// One tensor of a rank's part of a checkpoint.
struct PartTensor {
  std::string name;  ///< "master.h.0.mlp.layer1.output"
  std::vector<std::int64_t> global_shape;
  /// Where it belongs; no place in a file yet.
  StoredPiece piece;
  /// On the CPU, contiguous, without padding: in the shape of the rank's slice
  /// where all of that is there, else flat.
  at::Tensor values;
};

/// What one rank writes: together the parts of all ranks have every element of
/// the model and of its optimizer's state once, whatever the layout.
using Part = std::vector<PartTensor>;

/// That of world rank `rank`. With `copy` it shares no memory with the buckets
/// and the optimizer, else it does on a CPU. Waits for weights on their way.
Part part_of(const dist::FlatBuckets& buckets,
             const OptimizerState& optimizer,
             int rank,
             bool copy);

/// Bytes of its tensors.
std::int64_t bytes_of(const Part& part);

/// "rank_00003.safetensors"
std::string part_name(int rank);

struct WrittenPart {
  CheckedFile file;
  std::string text;  ///< What goes into the manifest (`add_part`).
};
/// Writes `part` as `folder`/`part_name(rank)`, synced but for its name. Throws
/// `InputError`.
WrittenPart write_part(Disk& disk,
                       const std::filesystem::path& folder,
                       int rank,
                       const Part& part,
                       const RunState& state);

/// Masters and moments of bucket `index`, of which this rank has shards: how
/// their names begin in files, and the shard. Buffers have no moments.
std::vector<std::pair<std::string, at::Tensor>> shards_of(
    const dist::FlatBuckets& buckets,
    std::size_t index,
    const OptimizerState& optimizer);

}  // namespace mumoe::run

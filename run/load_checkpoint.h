#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/params/flat_buckets.h"
#include "run/manifest.h"
#include "run/optimizer_state.h"

namespace mumoe::run {

/// What a rank has read of a checkpoint.
struct Loaded {
  RunState state;
  std::int64_t bytes = 0;   ///< Of tensors, into this rank's memory.
  std::int64_t blocks = 0;  ///< Of kBlockBytes, or less at a file's end.
  /// A line for each file that is damaged, of whose blocks some rank has read
  /// what parity and the other files gave instead. The same on all ranks.
  std::vector<std::string> rebuilt = {};
};

/// Restores masters, compute weights and what `optimizer` has (nothing, for
/// evaluation and sampling) from a checkpoint of any layout. Each rank reads
/// the blocks that have something it owns, each once, and checks them. What is
/// damaged is rebuilt in memory, where there is parity; nothing on disk
/// changes.
///
/// Collective over `world`, which is all that hold a part of `buckets`. Throws
/// on all ranks: `DamagedCheckpoint` naming file and tensor, with nothing of
/// the buckets to be relied on; `InputError` naming a tensor that is not there
/// or has another shape.
Loaded load_checkpoint(const std::filesystem::path& checkpoint,
                       dist::FlatBuckets& buckets,
                       const OptimizerState& optimizer,
                       dist::Communicator& world);
/// The same of the weights alone, of one rank.
Loaded load_weights(const std::filesystem::path& checkpoint,
                    dist::FlatBuckets& buckets);

}  // namespace mumoe::run

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "train/checkpoint_folder.h"
#include "train/optimizer.h"

namespace mumoe::train {

/// Where a run stands, beside its tensors.
struct RunState {
  /// Optimizer steps done.
  std::int64_t step = 0;
  /// Samples consumed by all ranks: the position in the data.
  std::int64_t samples = 0;
  /// The settings that a resumed run must share, by their keys.
  std::map<std::string, std::string> settings;
};

/// Writes `folder`/step_XXXXXXXX/state.safetensors: masters and both moments
/// under their global names and in their global shapes, and `state`. The folder
/// appears whole or not at all (temporary name, fsync, rename). Afterwards all
/// but the newest `keep` checkpoints are removed (`remove_old_checkpoints`).
/// Collective over the world; an error on the writing rank is thrown on all.
void save_checkpoint(const std::filesystem::path& folder,
                     const RunState& state,
                     const dist::FlatBuckets& buckets,
                     const AdamW& optimizer,
                     dist::ProcessMesh& mesh,
                     int keep);

/// What `checkpoint` says of the run, without reading its tensors.
RunState read_run_state(const std::filesystem::path& checkpoint);

/// Restores masters, compute weights and moments, and returns the state.
/// Throws `InputError` naming the file and the tensor that does not fit.
RunState load_checkpoint(const std::filesystem::path& checkpoint,
                         dist::FlatBuckets& buckets,
                         AdamW& optimizer);

/// Restores the weights alone, for evaluation and sampling.
void load_weights(const std::filesystem::path& checkpoint,
                  dist::FlatBuckets& buckets);

}  // namespace mumoe::train

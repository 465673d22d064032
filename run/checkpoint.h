#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "run/checkpoint_folder.h"

namespace mumoe::run {

/// How a run on GPUs chooses between ways to mix its experts.
struct MixingState {
  /// The share of active experts at or below which it reads those alone.
  double sparse_share = 0;
  /// The share in the last step, of all ranks.
  double active = 1;
};

/// What a run says of the samples that it took (data/sample_chain.h).
struct TakenSamples {
  /// The chain of all steps so far.
  std::uint64_t chain = 0;
  /// The digest of the samples of the next step, whoever makes it.
  std::uint64_t next = 0;
};

/// Where a run stands, beside its tensors.
struct RunState {
  /// Optimizer steps done.
  std::int64_t step = 0;
  /// Samples consumed by all ranks: the position in the data.
  std::int64_t samples = 0;
  /// The settings that a resumed run must share, by their keys.
  std::map<std::string, std::string> settings = {};
  /// Of a run on GPUs alone.
  std::optional<MixingState> mixing = {};
  /// None in a checkpoint of a version that did not write it.
  std::optional<TakenSamples> taken = {};
};

/// One number that an optimizer keeps for each of the parameters.
struct Moment {
  std::string name;  ///< In files, before that of the parameter.
  /// For each bucket, in dtype and shape of its master; undefined of buffers.
  std::vector<at::Tensor> shards;
};
/// All of them, as a value: whoever holds it shares their storage.
using OptimizerState = std::vector<Moment>;

/// Writes `folder`/step_XXXXXXXX/state.safetensors: masters and
/// moments under their global names and in their global shapes, and `state`.
/// The folder appears whole or not at all (temporary name, fsync, rename).
/// Afterwards all but the newest `keep` checkpoints are removed
/// (`remove_old_checkpoints`). Collective over the world; an error on the
/// writing rank is thrown on all.
void save_checkpoint(const std::filesystem::path& folder,
                     const RunState& state,
                     const dist::FlatBuckets& buckets,
                     const OptimizerState& optimizer,
                     dist::ProcessMesh& mesh,
                     int keep);

/// What `checkpoint` says of the run, without reading its tensors.
RunState read_run_state(const std::filesystem::path& checkpoint);

/// Restores masters, compute weights and what `optimizer` has: nothing, for
/// evaluation and sampling. Returns the state. Throws `InputError` naming the
/// file and the tensor that does not fit.
RunState load_checkpoint(const std::filesystem::path& checkpoint,
                         dist::FlatBuckets& buckets,
                         const OptimizerState& optimizer = {});

}  // namespace mumoe::run

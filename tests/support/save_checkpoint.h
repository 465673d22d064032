#pragma once

#include <filesystem>

#include "base/error.h"
#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "run/checkpoint_saver.h"

namespace mumoe::testing {

/// Makes a checkpoint and waits for its end. Throws `InputError` with the
/// failure. Collective over the world of `mesh`.
inline void save_checkpoint(const std::filesystem::path& folder,
                            const run::RunState& state,
                            const dist::FlatBuckets& buckets,
                            const run::OptimizerState& optimizer,
                            dist::ProcessMesh& mesh,
                            int keep = 1) {
  run::CheckpointSaver saver({.folder = folder, .keep = keep}, mesh, buckets);
  saver.begin(state, optimizer);
  saver.finish();
  const auto saved = saver.take_result();
  MUMOE_CHECK(saved.has_value());
  require(saved->failure.empty(), "{}", saved->failure);
}

}  // namespace mumoe::testing

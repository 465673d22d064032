#pragma once

#include <cstdint>

#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"

namespace mumoe::dist {

/// Compares what ranks hold of the same parameters, by hashes (xxh3, 64 bits)
/// of the bits: the weights the model computes with, and their masters where
/// every rank keeps all of them. A slice must be the same on all dp ranks that
/// hold it, a replicated parameter on all ranks.
///
/// Not thread-safe.
class ReplicaCheck {
 public:
  /// Both must outlive the check.
  ReplicaCheck(const FlatBuckets& buckets, const ProcessMesh& mesh)
      : buckets_(buckets), mesh_(mesh) {}

  /// Collective over the world: waits for all weights, then one all-gather of
  /// 16 bytes a parameter and rank. Throws `CommunicationError` on all ranks
  /// when replicas differ, with the step, the first such parameter in the order
  /// of the registry, and the ranks that differ from most.
  void run(std::int64_t step) const;

 private:
  const FlatBuckets& buckets_;
  const ProcessMesh& mesh_;
};

}  // namespace mumoe::dist

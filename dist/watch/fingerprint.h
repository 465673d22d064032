#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dist/communicator.h"

namespace mumoe::dist {

class ProcessMesh;

/// Compares what the ranks of a group are about to call before each of its
/// operations: operation and number, elements, dtype, reduction, root and
/// phase. Where they differ, all ranks of the group throw the same
/// `CommunicationError`, which names the ranks (of the world) that differ from
/// most others and what each was about to call; nothing has then been sent.
///
/// For finding errors, not for speed: each operation, asynchronous ones too,
/// first waits for one small all_gather on the CPU, so that nothing overlaps. A
/// rank that calls nothing any more, or calls an operation of another axis, is
/// found by the deadline of that all_gather.
///
/// Thread safety: that of the groups, one thread at a time for all of them.
class FingerprintCheck final : public Observer {
 public:
  /// Collective over `mesh.control()`, whose backend carries the fingerprints
  /// of all four groups, whatever moves their tensors. `mesh.observe` is the
  /// caller's.
  explicit FingerprintCheck(const ProcessMesh& mesh);

  void begin(const Communicator& group, const Collective& collective) override;

 private:
  struct Watched {
    const Communicator* group;
    std::unique_ptr<Communicator> control;  // the same ranks, unobserved
    std::vector<std::int64_t> world_ranks;
  };
  void watch(const ProcessMesh& mesh,
             const Communicator& group,
             int color,
             int key);

  std::vector<Watched> groups_;
};

}  // namespace mumoe::dist

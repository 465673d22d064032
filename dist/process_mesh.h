#pragma once

#include <memory>

#include "dist/communicator.h"

namespace mumoe::dist {

/// The ranks of a run as a grid of `dp` × `tp`. World rank = dp · |tp| + tp, so
/// that the ranks of one tp group are neighbours and share a host. The only
/// place where rank arithmetic lives.
class ProcessMesh {
 public:
  /// Collective over `world`. `dp` 0 means all ranks that tp leaves. Throws
  /// `InputError` when dp · tp is not the number of ranks. Groups inherit the
  /// deadline of `world`, which must outlive the mesh.
  ProcessMesh(Communicator& world, int dp, int tp);

  Communicator& world() const { return world_; }
  /// Ranks that hold the same slices and see different samples.
  Communicator& dp() const { return *dp_; }
  /// Ranks that hold different slices and see the same samples.
  Communicator& tp() const { return *tp_; }
  /// "dp 0/2 tp 0/1 world 0/2"
  std::string describe() const;

  void set_deadline(std::chrono::milliseconds deadline);
  /// Names what the run is doing, for messages about stuck operations.
  void set_phase(std::string_view phase);

 private:
  Communicator& world_;
  std::unique_ptr<Communicator> dp_;
  std::unique_ptr<Communicator> tp_;
};

}  // namespace mumoe::dist

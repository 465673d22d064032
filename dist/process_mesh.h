#pragma once

#include <memory>
#include <vector>

#include "dist/communicator.h"

namespace mumoe::dist {

/// The grid `dp` × `tp` of the ranks of a run, of any size, without the ranks.
/// World rank = place in dp · |tp| + place in tp, so that the ranks of one tp
/// group are neighbours and share a host. The only place where rank arithmetic
/// lives.
struct MeshShape {
  int dp = 1;
  int tp = 1;

  int ranks() const { return dp * tp; }
  int place_in_dp(int rank) const { return rank / tp; }
  int place_in_tp(int rank) const { return rank % tp; }
};

/// The ranks of a run along the axes of a `MeshShape`.
class ProcessMesh {
 public:
  /// Collective over `world`. `dp` 0 means all ranks that tp leaves. Throws
  /// `InputError` when dp · tp is not the number of ranks. `data`: the same
  /// ranks in the same order over the backend that moves the run's tensors;
  /// null: `world` itself. Both must outlive the mesh; groups inherit the
  /// deadline of `data`.
  ProcessMesh(Communicator& world,
              int dp,
              int tp,
              Communicator* data = nullptr);
  /// Takes its observers off the world, which lives on.
  ~ProcessMesh();
  ProcessMesh(const ProcessMesh&) = delete;
  ProcessMesh& operator=(const ProcessMesh&) = delete;

  /// All ranks, for small values of the program's control (choices, flags,
  /// losses): CPU tensors, whatever moves the run's.
  Communicator& control() const { return control_; }
  /// Ranks that hold the same slices and see different samples.
  Communicator& dp() const { return *dp_; }
  /// Ranks that hold different slices and see the same samples.
  Communicator& tp() const { return *tp_; }
  /// All ranks once more, for the run's tensors: sums of what is whole on all.
  Communicator& dp_tp() const { return *dp_tp_; }
  MeshShape shape() const { return {dp_->size(), tp_->size()}; }
  /// "dp 0/2 tp 0/1 world 0/2"
  std::string describe() const;

  void set_deadline(std::chrono::milliseconds deadline);
  /// Names what the run is doing, for messages about stuck operations and for
  /// observers.
  void set_phase(std::string_view phase);
  /// Lets `observer`, which must outlive the last of them, see the phases and
  /// the operations of all four groups.
  void observe(Observer& observer);

 private:
  Communicator& control_;
  std::unique_ptr<Communicator> dp_;
  std::unique_ptr<Communicator> tp_;
  std::unique_ptr<Communicator> dp_tp_;
  std::vector<Observer*> observers_;
};

}  // namespace mumoe::dist

#pragma once

#include <optional>
#include <utility>

#include "dist/process_mesh.h"
#include "dist/watch/bandwidth.h"
#include "dist/watch/observer.h"
#include "study/predict/machine.h"
#include "study/predict/step_time.h"
#include "study/simulate/operation_watch.h"
#include "study/simulate/virtual_clock.h"

namespace mumoe::study {

/// What collectives take: by the links of a machine, ranks filling its nodes
/// and tp's neighbours, or all over one link of so much (dist/watch/
/// link_model.h).
struct NetworkModel {
  Machine machine;
  Rates rates;
  std::optional<dist::Bandwidth> link = {};
  /// Of a host that computes: what communication takes from that, for a byte of
  /// the slowest link (taken_time.h).
  double taken_s = 0;

  /// Seconds of an operation over `group` of a mesh of `shape`.
  double seconds(const dist::Communicator& group,
                 const dist::Collective& collective,
                 dist::MeshShape shape) const;
  /// Seconds of it that the host of a rank cannot compute.
  double taken(const dist::Communicator& group,
               const dist::Collective& collective) const;
  /// What takes its operations one after the other.
  std::string network_of(const dist::Communicator& group) const;
};

/// Gives the operations of null communicators time on a virtual clock.
/// `ProcessMesh::observe` it.
class VirtualNetwork final : public dist::Observer {
 public:
  /// All must outlive this.
  VirtualNetwork(const NetworkModel& model,
                 dist::MeshShape shape,
                 VirtualClock& clock,
                 OperationWatch& watch)
      : model_(model), shape_(shape), clock_(clock), watch_(watch) {}

  void phase(std::string_view name) override;
  void begin(const dist::Communicator& group,
             const dist::Collective& collective) override;
  dist::Work started(const dist::Communicator& group,
                     const dist::Collective& collective,
                     dist::Work work) override;

  /// Of the host, since this was called last.
  double take_taken() { return std::exchange(taken_, 0); }

 private:
  const NetworkModel& model_;
  dist::MeshShape shape_;
  VirtualClock& clock_;
  OperationWatch& watch_;
  double taken_ = 0;
};

}  // namespace mumoe::study

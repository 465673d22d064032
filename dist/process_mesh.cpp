#include "dist/process_mesh.h"

#include <fmt/format.h>

#include "base/error.h"

namespace mumoe::dist {

ProcessMesh::ProcessMesh(Communicator& world,
                         int dp,
                         int tp,
                         Communicator* data)
    : control_(world) {
  const int ranks = world.size();
  require(tp >= 1, "tp = {}: expected at least 1", tp);
  require(dp >= 0, "dp = {}: expected auto or at least 1", dp);
  require(ranks % tp == 0,
          "tp = {}: {} ranks do not divide by it (start with launch/mpirun -n "
          "{} or a multiple of that)",
          tp,
          ranks,
          tp);
  if (dp == 0) dp = ranks / tp;
  require(dp * tp == ranks,
          "dp = {} and tp = {}: their product {} is not the "
          "number of ranks, {} (start with launch/mpirun -n {})",
          dp,
          tp,
          dp * tp,
          ranks,
          dp * tp);
  const MeshShape shape{dp, tp};
  const int dp_rank = shape.place_in_dp(world.rank());
  const int tp_rank = shape.place_in_tp(world.rank());
  if (data == nullptr) data = &world;
  dp_ = data->split(tp_rank, dp_rank, "dp");
  tp_ = data->split(dp_rank, tp_rank, "tp");
  dp_tp_ = data->split(0, world.rank(), "all");
}

ProcessMesh::~ProcessMesh() {
  for (const Observer* observer : observers_) control_.unobserve(*observer);
}

std::string ProcessMesh::describe() const {
  return fmt::format("dp {}/{} tp {}/{} world {}/{}",
                     dp_->rank(),
                     dp_->size(),
                     tp_->rank(),
                     tp_->size(),
                     control_.rank(),
                     control_.size());
}

void ProcessMesh::set_deadline(std::chrono::milliseconds deadline) {
  for (Communicator* group : {&control_, dp_.get(), tp_.get(), dp_tp_.get()}) {
    group->set_deadline(deadline);
  }
}

void ProcessMesh::set_phase(std::string_view phase) {
  for (Communicator* group : {&control_, dp_.get(), tp_.get(), dp_tp_.get()}) {
    group->set_phase(phase);
  }
  for (Observer* observer : observers_) observer->phase(phase);
}

void ProcessMesh::observe(Observer& observer) {
  for (Communicator* group : {&control_, dp_.get(), tp_.get(), dp_tp_.get()}) {
    group->observe(observer);
  }
  observers_.push_back(&observer);
}

}  // namespace mumoe::dist

#include "dist/process_mesh.h"

#include "base/error.h"

namespace mumoe::dist {

ProcessMesh::ProcessMesh(Communicator& world,
                         int dp,
                         int tp,
                         Communicator* data)
    : world_(world) {
  const int ranks = world.size();
  require(tp >= 1, "parallel.tp = ", tp, ": expected at least 1");
  require(dp >= 0, "parallel.dp = ", dp, ": expected auto or at least 1");
  require(ranks % tp == 0,
          "parallel.tp = ",
          tp,
          ": ",
          ranks,
          " ranks do not divide by it");
  if (dp == 0) dp = ranks / tp;
  require(dp * tp == ranks,
          "parallel.dp = ",
          dp,
          " and parallel.tp = ",
          tp,
          ": their product ",
          dp * tp,
          " is not the number of ranks, ",
          ranks,
          " (start with mpirun -n ",
          dp * tp,
          ")");
  const int dp_rank = world.rank() / tp;
  const int tp_rank = world.rank() % tp;
  if (data == nullptr) data = &world;
  dp_ = data->split(tp_rank, dp_rank, "dp");
  tp_ = data->split(dp_rank, tp_rank, "tp");
  all_ = data->split(0, world.rank(), "all");
}

ProcessMesh::~ProcessMesh() {
  for (const Observer* observer : observers_) world_.unobserve(*observer);
}

std::string ProcessMesh::describe() const {
  return concat("dp ",
                dp_->rank(),
                "/",
                dp_->size(),
                " tp ",
                tp_->rank(),
                "/",
                tp_->size(),
                " world ",
                world_.rank(),
                "/",
                world_.size());
}

void ProcessMesh::set_deadline(std::chrono::milliseconds deadline) {
  for (Communicator* group : {&world_, dp_.get(), tp_.get(), all_.get()}) {
    group->set_deadline(deadline);
  }
}

void ProcessMesh::set_phase(std::string_view phase) {
  for (Communicator* group : {&world_, dp_.get(), tp_.get(), all_.get()}) {
    group->set_phase(phase);
  }
  for (Observer* observer : observers_) observer->phase(phase);
}

void ProcessMesh::observe(Observer& observer) {
  for (Communicator* group : {&world_, dp_.get(), tp_.get(), all_.get()}) {
    group->observe(observer);
  }
  observers_.push_back(&observer);
}

}  // namespace mumoe::dist

#include "study/simulate/virtual_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

namespace mumoe::study {
namespace {

/// An operation that ends at a moment of a virtual clock.
class VirtualWork final : public dist::Work::State {
 public:
  VirtualWork(VirtualClock& clock,
              OperationWatch& watch,
              std::string network,
              double end,
              bool on_host)
      : clock_(clock),
        watch_(watch),
        network_(std::move(network)),
        end_(end),
        on_host_(on_host) {}

  void wait() override {
    watch_.host("wait");
    if (on_host_) {
      clock_.await_on_host(network_, end_);
    } else {
      clock_.await(network_, end_);
    }
  }
  /// Whoever asks whether it has ended would wait for it next.
  bool done() override { return clock_.now() >= end_; }

 private:
  VirtualClock& clock_;
  OperationWatch& watch_;
  std::string network_;
  double end_;
  bool on_host_;
};

CollectiveKind kind_of(dist::Op op) {
  switch (op) {
    case dist::Op::all_reduce:
    case dist::Op::barrier:
      return CollectiveKind::all_reduce;
    case dist::Op::reduce_scatter:
      return CollectiveKind::reduce_scatter;
    default:  // what passes each byte on once
      return CollectiveKind::all_gather;
  }
}

}  // namespace

Collective geometry_of(const std::string& axis,
                       dist::MeshShape shape,
                       double gpus_per_node,
                       dist::Op op,
                       double bytes) {
  const double tp = shape.tp, dp = shape.dp;
  Collective group;
  group.kind = kind_of(op);
  group.bytes = bytes;
  if (axis == "tp") {
    group.ranks = tp;
    group.ranks_per_node = std::min(tp, gpus_per_node);
    group.groups_per_node = std::max(1.0, std::floor(gpus_per_node / tp));
  } else if (axis == "dp") {
    group.axis = Axis::dp;
    group.ranks = dp;
    group.ranks_per_node =
        std::clamp(std::floor(gpus_per_node / tp), 1.0, std::max(dp, 1.0));
    group.groups_per_node = std::min(tp, gpus_per_node);
  } else {
    group.axis = Axis::dp;
    group.ranks = dp * tp;
    group.ranks_per_node = std::min(group.ranks, gpus_per_node);
  }
  return group;
}

double NetworkModel::seconds(const dist::Communicator& group,
                             const dist::Collective& collective,
                             dist::MeshShape shape) const {
  if (link) {
    return link->seconds(collective.op, group.size(), collective.bytes);
  }
  return seconds_of(geometry_of(group.axis(),
                                shape,
                                machine.gpus_per_node,
                                collective.op,
                                static_cast<double>(collective.bytes)),
                    machine,
                    rates);
}

std::string NetworkModel::network_of(const dist::Communicator& group) const {
  return link ? "link" : group.axis();
}

void VirtualNetwork::phase(std::string_view name) {
  watch_.host(std::string(name));
  clock_.phase(std::string(name));
}

void VirtualNetwork::begin(const dist::Communicator&, const dist::Collective&) {
  watch_.hold();
}

dist::Work VirtualNetwork::started(const dist::Communicator& group,
                                   const dist::Collective& collective,
                                   dist::Work) {
  watch_.release();
  // Small values of the program's control lie with the host, which waits.
  const bool control = group.axis() == "world";
  const std::string network = model_.network_of(group);
  const double end = clock_.send(network,
                                 fmt::format("{} {} KiB",
                                             dist::to_string(collective.op),
                                             (collective.bytes + 1023) / 1024),
                                 model_.seconds(group, collective, shape_),
                                 control);
  watch_.host(fmt::format("after {}", dist::to_string(collective.op)));
  return dist::Work(
      std::make_shared<VirtualWork>(clock_, watch_, network, end, control));
}

}  // namespace mumoe::study

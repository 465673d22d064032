#include "study/simulate/virtual_network.h"

#include <fmt/format.h>

#include <memory>
#include <string>

#include "study/predict/axis_group.h"

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

double NetworkModel::seconds(const dist::Communicator& group,
                             const dist::Collective& collective,
                             dist::MeshShape shape) const {
  if (link) {
    return link->seconds(collective.op, group.size(), collective.bytes);
  }
  // "world" holds the same ranks as "all".
  const Group of = group.axis() == "tp"   ? Group::tp
                   : group.axis() == "dp" ? Group::dp
                                          : Group::all;
  Collective operation = over_group(of, shape, machine.gpus_per_node);
  operation.kind = kind_of(collective.op);
  operation.bytes = static_cast<double>(collective.bytes);
  return seconds_of(operation, machine, rates);
}

double NetworkModel::taken(const dist::Communicator& group,
                           const dist::Collective& collective) const {
  return taken_s * static_cast<double>(collective.bytes) *
         dist::bus_factor(collective.op, group.size());
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
  // A host that waits for the end at once loses nothing by it.
  if (const double taken = model_.taken(group, collective); taken > 0) {
    clock_.compute("communication", taken, 0);
    taken_ += taken;
  }
  watch_.host(fmt::format("after {}", dist::to_string(collective.op)));
  return dist::Work(
      std::make_shared<VirtualWork>(clock_, watch_, network, end, control));
}

}  // namespace mumoe::study

#include "study/simulate/charges.h"

namespace mumoe::study {
namespace {

/// What the time of an operation grows with: FLOPs of a product, else bytes;
/// and a little for each.
double units_of(const Operation& operation) {
  double flops = 0;
  for (const Product& product : operation.products) flops += product.flops();
  constexpr double kLeast = 4096;
  return kLeast + (flops > 0 ? flops : operation.bytes);
}

}  // namespace

double MachineCharges::seconds(const Operation& operation) const {
  if (operation.kind == Operation::Kind::host) return 0;
  double seconds = 0;
  for (const Product& product : operation.products) {
    seconds += seconds_of(product, machine_, rates_);
  }
  if (!operation.products.empty()) return seconds;
  return operation.bytes / (machine_.memory_bandwidth * rates_.memory_share);
}

double MachineCharges::launch(const Operation& operation) const {
  return operation.kind == Operation::Kind::host
             ? 0
             : machine_.kernel_launch * rates_.launch;
}

void MeasuredCharges::add(const Operation& operation, double seconds) {
  for (Sum* sum : {&exact_[operation.key], &named_[operation.name]}) {
    sum->seconds += seconds;
    sum->units += units_of(operation);
    ++sum->count;
  }
}

double MeasuredCharges::seconds(const Operation& operation) const {
  if (const auto found = exact_.find(operation.key); found != exact_.end()) {
    return scale_ * found->second.seconds /
           static_cast<double>(found->second.count);
  }
  const auto found = named_.find(operation.name);
  if (found == named_.end()) return 0;
  return scale_ * found->second.seconds / found->second.units *
         units_of(operation);
}

}  // namespace mumoe::study

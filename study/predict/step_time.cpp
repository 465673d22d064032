#include "study/predict/step_time.h"

#include <algorithm>
#include <cmath>

namespace mumoe::study {
namespace {

/// Rows and columns of what a multiprocessor computes at once.
constexpr double kTile = 128;
/// Of an element of a product's operands.
constexpr double kElementBytes = 2;
/// How sharply the slower of processor and host decides: the norm in which
/// their times are added. 1 would be one after the other, infinity the slower
/// alone; queues of kernels that are drained in between are close to that.
constexpr double kSharpness = 4;
/// A tree sends what a ring of two would, at this share of its bandwidth (NCCL
/// 2.10, src/graph/tuning.cc), over this many times a ring's latency a level.
constexpr double kTreeShare = 0.9;
constexpr double kTreeLatency = 28.0 / 3.4;

double nodes_of(const Collective& collective) {
  return std::ceil(collective.ranks / collective.ranks_per_node);
}

/// Steps of a ring, all and those between nodes, and the share of its bytes
/// that each rank passes on.
struct Ring {
  double steps, between, passed;
};

Ring ring_of(const Collective& collective) {
  const double ranks = collective.ranks;
  const double rounds = collective.kind == CollectiveKind::all_reduce ? 2 : 1;
  return {rounds * (ranks - 1),
          rounds * (nodes_of(collective) - 1),
          rounds * (ranks - 1) / ranks};
}

double slower_of(double a, double b) {
  const double most = std::max(a, b);
  if (most <= 0) return 0;
  return most * std::pow(std::pow(a / most, kSharpness) +
                             std::pow(b / most, kSharpness),
                         1 / kSharpness);
}

}  // namespace

double StepWork::flops() const {
  double sum = 0;
  for (const Part& part : parts) {
    for (const Product& product : part.products) {
      sum += part.repeats * product.flops();
    }
  }
  return sum;
}

double StepTime::total() const {
  return products + passes + launches + tp + dp + host;
}

double seconds_of(const Product& product,
                  const Machine& machine,
                  const Rates& rates) {
  // A CPU's core computes what there is.
  if (machine.multiprocessors == 0) {
    const double elements =
        product.m * product.k + product.k * product.n + product.m * product.n;
    const double speed = machine.peak_flops * rates.product_share;
    return product.flops() * (1 + rates.product_ramp / product.k) / speed +
           product.times * product.batch * kElementBytes * elements /
               (machine.memory_bandwidth * rates.memory_share);
  }
  const double tiles = std::ceil(product.m / kTile) *
                       std::ceil(product.n / kTile) * product.batch;
  const double filled = std::max(tiles / machine.multiprocessors, 1.0);
  const double waves =
      rates.wave_share * std::ceil(filled) + (1 - rates.wave_share) * filled;
  const double speed =
      machine.peak_flops / machine.multiprocessors * rates.product_share;
  const double computed =
      waves * 2 * kTile * kTile * (product.k + rates.product_ramp) / speed;
  const double elements =
      product.m * product.k + product.k * product.n + product.m * product.n;
  const double moved = kElementBytes * elements * product.batch /
                       (machine.memory_bandwidth * rates.memory_share);
  return product.times * std::max(computed, moved);
}

double ring_bandwidth(const Collective& collective, const Machine& machine) {
  const double inside = machine.link_bandwidth * machine.link_share;
  if (nodes_of(collective) <= 1) return inside;
  // Each group has its rings over all adapters; several share the node's.
  const double outside =
      machine.node_bandwidth * machine.node_share / collective.groups_per_node;
  return std::min(inside, outside);
}

double seconds_of(const Collective& collective,
                  const Machine& machine,
                  const Rates& rates) {
  if (collective.ranks <= 1) return 0;
  const Ring ring = ring_of(collective);
  const double bandwidth = ring_bandwidth(collective, machine);
  const double start = machine.collective_latency * rates.start;
  const double inner = machine.link_latency * rates.ring_step;
  const double outer = machine.node_latency * rates.ring_step;
  const double by_ring = start + (ring.steps - ring.between) * inner +
                         ring.between * outer +
                         collective.bytes * ring.passed / bandwidth;
  if (collective.kind != CollectiveKind::all_reduce) return by_ring;
  // Within a node a chain, between nodes a tree; up and down.
  const double levels = std::ceil(std::log2(nodes_of(collective)));
  const double by_tree =
      start +
      2 * kTreeLatency *
          ((collective.ranks_per_node - 1) * inner + levels * outer) +
      2 * collective.bytes / (kTreeShare * bandwidth);
  return std::min(by_ring, by_tree);
}

StepTime step_time(const StepWork& work,
                   const Machine& machine,
                   const Rates& rates) {
  StepTime time;
  for (const Part& part : work.parts) {
    double products = 0, passes = 0, hidden = 0;
    for (const Product& product : part.products) {
      products += seconds_of(product, machine, rates);
    }
    for (const Pass& pass : part.passes) {
      passes += pass.bytes * rates.passes[static_cast<std::size_t>(pass.kind)] /
                (machine.memory_bandwidth * rates.memory_share);
    }
    double tp = 0, dp = 0;
    for (const Collective& collective : part.collectives) {
      const double seconds =
          collective.times * seconds_of(collective, machine, rates);
      double& axis = collective.axis == Axis::tp ? tp : dp;
      if (collective.overlapped) hidden += seconds;
      axis += collective.overlapped ? 0 : seconds;
    }
    const double launched = part.kernels * machine.kernel_launch * rates.launch;
    // A CPU is its own host.
    const double busy = machine.multiprocessors == 0
                            ? products + passes + launched
                            : slower_of(products + passes, launched);
    time.products += part.repeats * products;
    time.passes += part.repeats * passes;
    time.launches += part.repeats * (busy - products - passes);
    time.tp += part.repeats * tp;
    // What is hidden is the sum of gradients, as a rule.
    time.dp += part.repeats * (dp + std::max(hidden - busy, 0.0));
  }
  time.host = 1e-3 * (work.micro_steps * rates.micro_step + rates.step);
  return time;
}

}  // namespace mumoe::study

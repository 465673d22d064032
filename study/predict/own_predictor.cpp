#include "study/predict/own_predictor.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "study/predict/fit.h"
#include "study/predict/model_work.h"
#include "study/scale/run_facts.h"

namespace mumoe::study {
namespace {

/// 90 % of a normal distribution lie within so many deviations.
constexpr double kNineOfTen = 1.645;

/// What is looked for of a CPU, and where: of `Rates`, and of its links.
struct CpuRates {
  Rates rates;
  double link_bandwidth = 3e9;
};

constexpr double kMemoryBandwidth = 1e10, kLaunch = 2e-6, kLatency = 1e-5;

std::vector<Unknown> unknowns() {
  return {{0.9, 0.3, 1.2},    // product_share
          {16, 0.5, 400},     // product_ramp
          {1, 0.05, 20},      // memory_share
          {1, 0.05, 20},      // passes of activations
          {1, 0.05, 20},      // passes of optimizer state
          {2, 0.01, 200},     // launch
          {2, 0.01, 200},     // start
          {2, 0.01, 200},     // ring_step
          {0.3, 0.001, 20},   // micro_step
          {1, 0.001, 50},     // step
          {3e9, 2e8, 5e10}};  // link bandwidth
}

CpuRates rates_of(std::span<const double> values) {
  CpuRates found;
  Rates& rates = found.rates;
  rates.product_share = values[0];
  rates.product_ramp = values[1];
  rates.memory_share = values[2];
  rates.passes[static_cast<std::size_t>(PassKind::whole)] = values[3];
  rates.passes[static_cast<std::size_t>(PassKind::state)] = values[4];
  rates.launch = values[5];
  rates.start = values[6];
  rates.ring_step = values[7];
  rates.micro_step = values[8];
  rates.step = values[9];
  found.link_bandwidth = values[10];
  return found;
}

/// All ranks are in one node, whose memory is the link.
Machine machine_of(const OwnRun& run, double link_bandwidth) {
  Machine machine;
  machine.name = "here";
  machine.peak_flops = run.peak_flops;
  machine.memory_bandwidth = kMemoryBandwidth;
  machine.multiprocessors = 0;
  machine.kernel_launch = kLaunch;
  machine.gpus_per_node = 1e6;
  machine.link_bandwidth = link_bandwidth;
  machine.link_share = 1;
  machine.link_latency = kLatency;
  machine.node_bandwidth = link_bandwidth;
  machine.node_share = 1;
  machine.node_latency = kLatency;
  machine.collective_latency = kLatency;
  return machine;
}

RunCost cost_of(const OwnRun& run) {
  return cost_of_run(run.options, run.layout, run.dtype, at::kCPU);
}

/// Where a run is: powers of two, so that twice as much is one apart, and kinds
/// far from each other.
std::vector<double> place_of(const OwnRun& run) {
  const auto log2_of = [](double value) {
    return std::log2(std::max(value, 1.0));
  };
  const model::ModelConfig& m = run.options.model;
  const RunLayout& layout = run.layout;
  const auto tokens = static_cast<double>(layout.micro_batch * m.context);
  const double kind = m.dense ? 0 : m.mlp.ranks.size() > 1 ? 2 : 1;
  return {log2_of(static_cast<double>(m.width)),
          log2_of(static_cast<double>(m.mlp.hidden_dim)),
          log2_of(tokens),
          log2_of(layout.dp),
          log2_of(layout.tp),
          log2_of(static_cast<double>(m.depth)),
          log2_of(static_cast<double>(run.options.trainer.batch)),
          layout.tp == 1 ? 0.0 : static_cast<double>(layout.plan),
          kind,
          run.dtype == at::kFloat ? 0.0 : 1.0,
          static_cast<double>(m.recompute),
          run.options.family == "gpt2" ? 0.0 : 1.0};
}

/// How far apart, along each of these, two errors still have to do with each
/// other: chosen, and not fitted.
std::vector<double> scales() {
  return {2, 2, 2, 2, 2, 4, 4, 2, 1, 1, 2, 1};
}

}  // namespace

OwnPredictor::OwnPredictor(std::span<const OwnRun> runs)
    : correction_({}, {}, scales()) {
  require(runs.size() > 1, "a prediction needs at least two measured runs");
  fit_rates_to(runs);
  correction_ = correction_of(runs);
  std::vector<double> besides;
  for (const OwnRun& run : runs) {
    besides.push_back(run.rss_bytes - cost_of(run).memory.model());
  }
  program_bytes_ = std::max(median(besides), 0.0);
}

void OwnPredictor::fit_rates_to(std::span<const OwnRun> runs) {
  std::vector<RunCost> costs;
  std::vector<double> measured;
  for (const OwnRun& run : runs) {
    costs.push_back(cost_of(run));
    measured.push_back(run.seconds);
  }
  const auto predict = [&](std::span<const double> values) {
    const CpuRates found = rates_of(values);
    std::vector<double> seconds;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const Machine machine = machine_of(runs[i], found.link_bandwidth);
      seconds.push_back(
          step_time(
              model_work(runs[i].options, costs[i], runs[i].layout, machine),
              machine,
              found.rates)
              .total());
    }
    return seconds;
  };
  const auto start = unknowns();
  const CpuRates found = rates_of(fit(predict, measured, start));
  rates_ = found.rates;
  link_bandwidth_ = found.link_bandwidth;
}

LocalCorrection OwnPredictor::correction_of(
    std::span<const OwnRun> runs) const {
  std::vector<std::vector<double>> places;
  std::vector<double> left;
  for (const OwnRun& run : runs) {
    places.push_back(place_of(run));
    left.push_back(std::log(run.seconds / by_rates(run).total()));
  }
  return {std::move(places), left, scales(), unknowns().size()};
}

StepTime OwnPredictor::by_rates(const OwnRun& run) const {
  const Machine machine = machine_of(run, link_bandwidth_);
  return step_time(model_work(run.options, cost_of(run), run.layout, machine),
                   machine,
                   rates_);
}

Prediction OwnPredictor::predict(const OwnRun& run) const {
  const Estimate left = correction_.at(place_of(run));
  const double seconds = by_rates(run).total() * std::exp(left.mean);
  const double wide = kNineOfTen * left.deviation;
  return {seconds, seconds * std::exp(-wide), seconds * std::exp(wide)};
}

double OwnPredictor::memory_bytes(const OwnRun& run) const {
  return cost_of(run).memory.model() + program_bytes_;
}

}  // namespace mumoe::study

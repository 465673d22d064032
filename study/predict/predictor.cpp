#include "study/predict/predictor.h"

#include <cmath>
#include <vector>

namespace mumoe::study {
namespace {

/// 90 % of a normal distribution lie within so many deviations.
constexpr double kNineOfTen = 1.645;
/// A deviation of what links between nodes carry: a factor.
constexpr double kLinkFactor = 1.4;

/// Where a run is: powers of two, so that twice as much is one apart.
std::vector<double> place_of(const MeasuredRun& run) {
  const auto log2_of = [](std::int64_t value) {
    return std::log2(static_cast<double>(value));
  };
  return {log2_of(run.hidden),
          log2_of(run.tp),
          log2_of(run.micro_batch),
          log2_of(run.sequence),
          log2_of(run.dp),
          log2_of(run.layers),
          std::log2(run.micro_steps())};
}

/// How far apart, along each of these, two errors of the rates still have to do
/// with each other. Rounded from the most likely ones of 480 runs on one node
/// of A100s: shapes and layouts of kernels (width, tp, micro-batch) err each by
/// themselves; how often they are run changes an error little.
std::vector<double> scales() {
  return {1, 0.4, 0.4, 1, 100, 40, 150};
}

std::vector<MeasuredStep> steps_of(std::span<const MeasuredRun> runs,
                                   const Machine& machine) {
  std::vector<MeasuredStep> steps;
  for (const MeasuredRun& run : runs) {
    steps.push_back({dense_gpt_work(run, machine), run.milliseconds * 1e-3});
  }
  return steps;
}

}  // namespace

Predictor::Predictor(std::span<const MeasuredRun> runs, const Machine& machine)
    : machine_(machine),
      rates_(fit_rates(steps_of(runs, machine), machine)),
      correction_(correction_of(runs)) {}

LocalCorrection Predictor::correction_of(
    std::span<const MeasuredRun> runs) const {
  std::vector<std::vector<double>> places;
  std::vector<double> left;
  for (const MeasuredRun& run : runs) {
    places.push_back(place_of(run));
    left.push_back(std::log(run.milliseconds * 1e-3 / by_rates(run).total()));
  }
  return {std::move(places), left, scales(), fitted_rates()};
}

StepTime Predictor::by_rates(const MeasuredRun& run) const {
  return step_time(dense_gpt_work(run, machine_), machine_, rates_);
}

double Predictor::link_deviation(const MeasuredRun& run) const {
  Machine slower = machine_;
  slower.node_bandwidth /= kLinkFactor;
  slower.node_latency *= kLinkFactor;
  const StepWork work = dense_gpt_work(run, machine_);
  return std::log(step_time(work, slower, rates_).total() /
                  step_time(work, machine_, rates_).total());
}

Prediction Predictor::predict(const MeasuredRun& run) const {
  const Estimate left = correction_.at(place_of(run));
  const double seconds = by_rates(run).total() * std::exp(left.mean);
  const double wide =
      kNineOfTen * std::hypot(left.deviation, link_deviation(run));
  return {seconds, seconds * std::exp(-wide), seconds * std::exp(wide)};
}

}  // namespace mumoe::study

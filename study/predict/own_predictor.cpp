#include "study/predict/own_predictor.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <utility>

#include "base/error.h"
#include "study/predict/cpu_rates.h"
#include "study/predict/fit.h"
#include "study/predict/likely_scales.h"
#include "study/predict/model_work.h"
#include "study/scale/run_facts.h"

namespace mumoe::study {
namespace {

/// 90 % of a normal distribution lie within so many deviations.
constexpr double kNineOfTen = 1.645;
/// By how much a step differs between hours of one machine, a deviation of a
/// logarithm, which no study of one hour shows: 79 cells measured twice, nearly
/// two hours apart, differed by 3.6 % in the mean and 3.8 % around it.
constexpr double kHours = 0.04;
constexpr double kClearPrecision = 1.25;  // as launch/compute has it

/// Where a run is: powers of two, so that twice as much is one apart, and kinds
/// far from each other.
std::vector<double> place_of(const OwnRun& run) {
  const auto log2_of = [](double value) {
    return std::log2(std::max(value, 1.0));
  };
  const model::ModelConfig& m = run.options.model;
  const RunLayout& layout = run.layout;
  const bool gpt = run.options.family == "gpt2";
  const auto length = static_cast<double>(gpt ? m.context : m.patches());
  const double kind = m.dense ? 0 : m.mlp.ranks.size() > 1 ? 2 : 1;
  return {log2_of(static_cast<double>(m.width)),
          log2_of(static_cast<double>(m.mlp.hidden_dim)),
          log2_of(static_cast<double>(layout.micro_batch) * length),
          log2_of(layout.dp),
          log2_of(layout.tp),
          log2_of(static_cast<double>(m.depth)),
          log2_of(static_cast<double>(run.options.trainer.batch)),
          layout.tp == 1 ? 0.0 : 1 + static_cast<double>(layout.plan),
          kind,
          run.dtype == at::kFloat ? 0.0 : 1.0,
          static_cast<double>(m.recompute),
          gpt ? 0.0 : 1.0};
}

/// How far apart, along each of these, two errors still have to do with each
/// other, before anything is measured.
std::vector<double> first_scales() {
  return {2, 2, 2, 2, 2, 4, 4, 2, 1, 1, 2, 1};
}

/// The values of `unknowns` by which `predict` comes closest to what was
/// measured, and what they leave of it at `places`: over the likeliest scales,
/// or those of `like`.
OwnPredictor::Learnt learn(
    const std::function<std::vector<double>(std::span<const double>)>& predict,
    const std::vector<double>& measured,
    const std::vector<std::vector<double>>& places,
    const std::vector<Unknown>& unknowns,
    const OwnPredictor::Learnt* like) {
  std::vector<double> values = fit(predict, measured, unknowns);
  std::vector<double> left = predict(values);
  for (std::size_t i = 0; i < left.size(); ++i) {
    left[i] = std::log(measured[i] / left[i]);
  }
  auto scales =
      like ? like->left.scales() : likely_scales(places, left, first_scales());
  return {std::move(values),
          {places, left, std::move(scales), unknowns.size()}};
}

double ninth_of_ten(std::vector<double> values) {
  std::ranges::sort(values);
  const auto index = static_cast<std::size_t>(
      std::ceil(0.9 * static_cast<double>(values.size() + 1)));
  return values[std::clamp<std::size_t>(index, 1, values.size()) - 1];
}

}  // namespace

OwnPredictor::OwnPredictor(std::span<const OwnRun> runs, int cores)
    : most_ranks_(cores),
      fitted_{{{}, {{}, {}, first_scales()}}, {{}, {{}, {}, first_scales()}}} {
  require(runs.size() > 1, "a prediction needs at least two measured runs");
  std::map<at::ScalarType, std::vector<double>> peaks;
  std::vector<Known> knowns;
  std::vector<const Known*> all;
  for (const OwnRun& run : runs) {
    knowns.push_back(know(run));
    peaks[run.dtype].push_back(run.peak_flops);
    most_ranks_ = std::max(most_ranks_, run.layout.ranks());
  }
  for (const auto& [dtype, of] : peaks) peaks_[dtype] = median(of);
  for (const Known& known : knowns) all.push_back(&known);
  fitted_ = fit_to(all, nullptr);
  wider_ = widening(knowns);
}

OwnPredictor::Known OwnPredictor::know(const OwnRun& run) {
  Known known{.cost = cost_of_run(run.options, run.layout, run.dtype, at::kCPU),
              .work = {},
              .place = place_of(run),
              .ranks = run.layout.ranks(),
              .images = run.options.family != "gpt2",
              .dtype = run.dtype,
              .seconds = run.seconds,
              .rss_bytes = run.rss_bytes,
              .shape = shape_of(run)};
  known.work =
      model_work(run.options, known.cost, run.layout, cpu_machine(1, 1));
  return known;
}

double OwnPredictor::peak_flops(at::ScalarType dtype) const {
  const auto found = peaks_.find(dtype);
  return found == peaks_.end() ? peaks_.begin()->second : found->second;
}

at::ScalarType OwnPredictor::dtype_for(run::Precision precision) const {
  if (precision == run::Precision::fp64) return at::kDouble;
  if (precision == run::Precision::fp32) return at::kFloat;
  const bool faster =
      peak_flops(at::kBFloat16) > kClearPrecision * peak_flops(at::kFloat);
  return precision == run::Precision::bf16 || faster ? at::kBFloat16
                                                     : at::kFloat;
}

StepTime OwnPredictor::seconds_of(const Known& known,
                                  std::span<const double> values) const {
  return step_time(known.work,
                   cpu_machine(peak_flops(known.dtype), link_of(values)),
                   cpu_rates(values, known.dtype, known.ranks));
}

OwnPredictor::Fitted OwnPredictor::fit_to(
    const std::vector<const Known*>& knowns,
    const Fitted* with_scales_of) const {
  std::vector<double> seconds, bytes;
  std::vector<std::vector<double>> places;
  for (const Known* known : knowns) {
    seconds.push_back(known->seconds);
    bytes.push_back(known->rss_bytes);
    places.push_back(known->place);
  }
  const auto each = [&](const auto& value) {
    std::vector<double> found;
    for (const Known* known : knowns) found.push_back(value(*known));
    return found;
  };
  const auto times = [&](std::span<const double> values) {
    return each(
        [&](const Known& known) { return seconds_of(known, values).total(); });
  };
  const auto memory = [&](std::span<const double> values) {
    return each([&](const Known& known) {
      return memory_of(known.cost.memory, known.ranks, known.images, values);
    });
  };
  const Fitted* const like = with_scales_of;
  return {learn(times,
                seconds,
                places,
                time_unknowns(),
                like ? &like->times : nullptr),
          learn(memory,
                bytes,
                places,
                memory_unknowns(),
                like ? &like->memory : nullptr)};
}

double OwnPredictor::widening(const std::vector<Known>& knowns) const {
  std::set<std::string> shapes;
  for (const Known& known : knowns) shapes.insert(known.shape);
  if (shapes.size() < 4) return 1;
  std::vector<double> off;
  for (const std::string& shape : shapes) {
    std::vector<const Known*> others;
    for (const Known& known : knowns) {
      if (known.shape != shape) others.push_back(&known);
    }
    const Fitted fitted = fit_to(others, &fitted_);
    for (const Known& known : knowns) {
      if (known.shape != shape) continue;
      const Estimate left = fitted.times.left.at(known.place);
      const double by = std::log(
          known.seconds / seconds_of(known, fitted.times.values).total());
      off.push_back(std::abs(by - left.mean) / left.deviation);
    }
  }
  return ninth_of_ten(off) / kNineOfTen;
}

StepTime OwnPredictor::by_rates(const OwnRun& run) const {
  return seconds_of(know(run), fitted_.times.values);
}

Prediction OwnPredictor::predict(const OwnRun& run) const {
  require(run.layout.ranks() <= most_ranks_,
          "{} ranks: expected at most {}, as this machine has cores or runs "
          "were measured",
          run.layout.ranks(),
          most_ranks_);
  const Known known = know(run);
  const Estimate left = fitted_.times.left.at(known.place);
  const double seconds =
      seconds_of(known, fitted_.times.values).total() * std::exp(left.mean);
  const double wide = kNineOfTen * std::hypot(wider_ * left.deviation, kHours);
  return {seconds, seconds * std::exp(-wide), seconds * std::exp(wide)};
}

double OwnPredictor::memory_bytes(const OwnRun& run) const {
  const Known known = know(run);
  return memory_of(known.cost.memory,
                   known.ranks,
                   known.images,
                   fitted_.memory.values) *
         std::exp(fitted_.memory.left.at(known.place).mean);
}

}  // namespace mumoe::study

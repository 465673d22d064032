#include "study/predict/prediction_check.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "base/random.h"

namespace mumoe::study {
namespace {

constexpr std::size_t kFolds = 5;
/// A run, and what was said of it before it was seen.
struct Pair {
  MeasuredRun run;
  Prediction predicted;
  double by_rates;
};

void predict_all(const Predictor& predictor,
                 std::span<const MeasuredRun> runs,
                 std::vector<Pair>& pairs) {
  for (const MeasuredRun& run : runs) {
    pairs.push_back(
        {run, predictor.predict(run), predictor.by_rates(run).total()});
  }
}

/// The value below which `share` of the values lie.
double quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const auto above = std::min(below + 1, values.size() - 1);
  const double part = at - std::floor(at);
  return values[below] * (1 - part) + values[above] * part;
}

PredictionScore score_of(const std::vector<Pair>& pairs) {
  PredictionScore score;
  score.runs = pairs.size();
  std::vector<double> errors, widths;
  double held = 0;
  const double share = 1 / static_cast<double>(pairs.size());
  for (const auto& [run, predicted, by_rates] : pairs) {
    const double measured = run.milliseconds * 1e-3;
    const double error = predicted.seconds / measured - 1;
    errors.push_back(std::abs(error));
    widths.push_back(predicted.half_width());
    score.mean_error += share * std::abs(error);
    score.mean_signed += share * error;
    score.rates_error += share * std::abs(by_rates / measured - 1);
    held += predicted.holds(measured) ? 1 : 0;
  }
  score.held = held * share;
  score.error_90 = quantile(errors, 0.9);
  score.half_width = quantile(widths, 0.5);
  return score;
}

ChoiceScore choice_of(const std::vector<Pair>& pairs) {
  std::map<std::vector<std::int64_t>, std::vector<const Pair*>> groups;
  for (const Pair& pair : pairs) {
    const MeasuredRun& run = pair.run;
    groups[{run.hidden,
            run.heads,
            run.layers,
            run.sequence,
            run.gpus,
            run.global_batch}]
        .push_back(&pair);
  }
  ChoiceScore score;
  for (const auto& [key, group] : groups) {
    if (group.size() < 2) continue;
    const auto* chosen =
        *std::ranges::min_element(group, {}, [](const Pair* pair) {
          return pair->predicted.seconds;
        });
    const auto* best =
        *std::ranges::min_element(group, {}, [](const Pair* pair) {
          return pair->run.milliseconds;
        });
    const double cost = chosen->run.milliseconds / best->run.milliseconds - 1;
    ++score.groups;
    score.mean_cost += cost;
    score.worst_cost = std::max(score.worst_cost, cost);
  }
  if (score.groups > 0) score.mean_cost /= static_cast<double>(score.groups);
  return score;
}

using Unit = std::tuple<std::int64_t, std::int64_t, std::int64_t>;

Unit unit_of(const MeasuredRun& run, std::size_t index, Kept kept) {
  if (kept == Kept::rows) return {static_cast<std::int64_t>(index), 0, 0};
  if (kept == Kept::tp) return {run.tp, 0, 0};
  return {run.hidden, run.tp, run.micro_batch};
}

/// Of each run the part that it is in; parts are as even as units allow.
std::vector<std::size_t> deal(std::span<const MeasuredRun> runs,
                              Kept kept,
                              std::uint64_t seed,
                              std::size_t& parts) {
  std::set<Unit> units;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    units.insert(unit_of(runs[i], i, kept));
  }
  const CounterRandom random(seed, Purpose::measurement);
  std::vector<std::pair<std::uint32_t, Unit>> order;
  for (const Unit& unit : units) {
    order.emplace_back(random.bits(order.size()).front(), unit);
  }
  std::ranges::sort(order);
  parts = kept == Kept::tp ? units.size() : std::min(kFolds, units.size());
  std::map<Unit, std::size_t> part_of;
  for (std::size_t i = 0; i < order.size(); ++i) {
    part_of[order[i].second] = i % parts;
  }
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    all.push_back(part_of[unit_of(runs[i], i, kept)]);
  }
  return all;
}

}  // namespace

std::optional<PredictionCheck> check_folds(std::span<const MeasuredRun> runs,
                                           const Machine& machine,
                                           Kept kept,
                                           std::uint64_t seed) {
  std::size_t parts = 0;
  const auto part_of = deal(runs, kept, seed, parts);
  if (parts < 2) return std::nullopt;
  std::vector<Pair> pairs;
  for (std::size_t part = 0; part < parts; ++part) {
    std::vector<MeasuredRun> known, kept_back;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      (part_of[i] == part ? kept_back : known).push_back(runs[i]);
    }
    predict_all(Predictor(known, machine), kept_back, pairs);
  }
  return PredictionCheck{score_of(pairs), choice_of(pairs)};
}

PredictionCheck check_others(std::span<const MeasuredRun> runs,
                             std::span<const MeasuredRun> others,
                             const Machine& machine) {
  std::vector<Pair> pairs;
  predict_all(Predictor(runs, machine), others, pairs);
  return {score_of(pairs), choice_of(pairs)};
}

}  // namespace mumoe::study

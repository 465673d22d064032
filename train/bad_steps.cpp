#include "train/bad_steps.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace mumoe::train {
namespace {

/// Makes the median absolute deviation of normal numbers their deviation.
constexpr double kNormal = 1.4826;
/// Of the median: deviations below are taken for this.
constexpr double kLeastDeviation = 1e-3;
constexpr std::int64_t kLeastHistory = 8;

/// Of at least one number, in any order.
double median_of(std::vector<double> values) {
  const auto middle =
      values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 != 0) return *middle;
  // Halves first: the sum of two large ones is not finite.
  return *std::max_element(values.begin(), middle) / 2 + *middle / 2;
}

std::optional<std::string> spike_of(const char* what,
                                    double value,
                                    const std::vector<double>& before,
                                    double spike,
                                    std::int64_t window) {
  const auto steps = static_cast<std::int64_t>(before.size());
  if (steps < least_history(window)) return std::nullopt;
  const RobustScore score = robust_score(value, before);
  if (!(score.deviations > spike)) return std::nullopt;
  return fmt::format(
      "{} {:.6g} is {:.1f} robust deviations above the median {:.6g} of {} "
      "steps",
      what,
      value,
      score.deviations,
      score.median,
      steps);
}

void push(std::vector<double>& values, double value, std::int64_t window) {
  values.push_back(value);
  const auto most = static_cast<std::size_t>(window);
  if (values.size() <= most) return;
  values.erase(values.begin(),
               values.end() - static_cast<std::ptrdiff_t>(most));
}

}  // namespace

RobustScore robust_score(double value, const std::vector<double>& others) {
  const double median = median_of(others);
  std::vector<double> distances;
  distances.reserve(others.size());
  for (const double other : others) {
    distances.push_back(std::abs(other - median));
  }
  const double deviation = std::max(kNormal * median_of(std::move(distances)),
                                    kLeastDeviation * std::abs(median));
  return {median, deviation > 0 ? (value - median) / deviation : 0};
}

std::int64_t least_history(std::int64_t window) {
  return std::max(kLeastHistory, window / 2);
}

std::string fault_of(double loss,
                     double norm,
                     const run::SpikeHistory& before,
                     double spike,
                     std::int64_t window) {
  if (!std::isfinite(loss) || !std::isfinite(norm)) {
    return fmt::format("loss {:.6g}, gradient norm {:.6g} (not finite)",
                       loss,
                       norm);
  }
  if (spike <= 0) return "";
  if (auto of_loss = spike_of("loss", loss, before.losses, spike, window)) {
    return *of_loss;
  }
  return spike_of("gradient norm", norm, before.norms, spike, window)
      .value_or("");
}

void remember(run::SpikeHistory& history,
              double loss,
              double norm,
              std::int64_t window) {
  if (!std::isfinite(loss) || !std::isfinite(norm)) return;
  push(history.losses, loss, window);
  push(history.norms, norm, window);
}

int BadRow::bad(std::int64_t step) {
  furthest_ = std::max(furthest_, step);
  return ++count_;
}

void BadRow::good(std::int64_t step) {
  if (step > furthest_) count_ = 0;
}

std::string_view name_of(run::BadStep action) {
  switch (action) {
    case run::BadStep::stop:
      return "stop";
    case run::BadStep::skip:
      return "skip";
    case run::BadStep::rewind:
      return "rewind";
  }
  return "";
}

std::string describe(const BadStepReport& bad) {
  const char* const done =
      bad.action == run::BadStep::skip ? "the update is left out"
      : bad.action == run::BadStep::rewind
          ? "back to the last checkpoint, to go on behind these samples"
          : "stopped before the weights changed";
  constexpr std::size_t kNamed = 8;
  const std::string where =
      bad.ranks.size() == 1 ? fmt::format("rank {}", bad.ranks[0])
      : bad.ranks.size() <= kNamed
          ? fmt::format("ranks {}", fmt::join(bad.ranks, " "))
          : fmt::format("{} ranks", bad.ranks.size());
  return fmt::format("step {}: {}; on {}; {}", bad.step, bad.why, where, done);
}

}  // namespace mumoe::train

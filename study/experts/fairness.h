#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "study/experts/bootstrap.h"

namespace mumoe::study {

/// A subpopulation: whether the target is true of it, and the group.
struct Subgroup {
  bool target = true;
  bool group = true;

  std::size_t place() const { return (target ? 2u : 0u) + (group ? 1u : 0u); }
};

/// Of samples, by number: whether the target and the group are true, and by how
/// much a model says that the target is: its logit less the largest other one.
/// Above 0 it says so.
struct JudgedSamples {
  std::vector<std::uint8_t> target = {};
  std::vector<std::uint8_t> group = {};
  std::vector<double> margin = {};

  std::size_t size() const { return margin.size(); }
  std::size_t subgroup(std::size_t sample) const {
    return Subgroup{target[sample] != 0, group[sample] != 0}.place();
  }
};

/// How fair decisions are. NaN where a subgroup has no samples.
struct Fairness {
  /// |TPR of the group − TPR of the others| (Hardt et al., 2016): less is
  /// better.
  double opportunity = 0;
  /// Deviation of the four subgroups' accuracies (Wang and Deng, 2020), of the
  /// whole population of four: less is better.
  double deviation = 0;
  /// The lowest accuracy of a subgroup (Lahoti et al., 2020): more is better.
  double worst = 0;
  double subpopulation = 0;  ///< Accuracy of the one that is asked about.
  double accuracy = 0;       ///< Of all samples.
};

inline constexpr std::size_t kFairnessFigures = 5;
struct FairnessFigure {
  const char* name;
  double Fairness::*value;
  bool more;  ///< Is better.
};
/// Of the table and JSON, in order.
std::span<const FairnessFigure, kFairnessFigures> fairness_figures();

/// Of decisions margin + shift(sample) > 0 about `samples` of `judged`.
using Shift = std::function<double(std::size_t sample)>;
Fairness fairness(const JudgedSamples& judged,
                  std::span<const std::size_t> samples,
                  Subgroup subpopulation,
                  const Shift& shift);

/// The same figures with bootstrap intervals over the samples, a mean over
/// several `shifts`: one technique, or many draws of one.
struct FairnessFound {
  Fairness figures;
  std::array<std::optional<Interval>, kFairnessFigures> intervals = {};
};
FairnessFound fairness_found(const JudgedSamples& judged,
                             std::span<const std::size_t> samples,
                             Subgroup subpopulation,
                             std::span<const Shift> shifts);

/// By what lambda is chosen.
struct Choice {
  const FairnessFigure& by;
  /// How much accuracy of all samples it may cost, against lambda = 0, where
  /// that is chosen.
  double cost = 1;
};

/// Where the figure of `choice` is best on `samples`, of shifts(lambda) for
/// each of `lambdas` that costs no more; of equal ones the smallest lambda. 0
/// where none does.
double best_lambda(const JudgedSamples& judged,
                   std::span<const std::size_t> samples,
                   Subgroup subpopulation,
                   const Choice& choice,
                   std::span<const double> lambdas,
                   const std::function<Shift(double lambda)>& shifts);

/// The figure called `name`, as of --choose. Throws `InputError`.
const FairnessFigure& fairness_figure(std::string_view name);

}  // namespace mumoe::study

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "run/run_state.h"
#include "run/train_config.h"

// Steps whose numbers are bad: a loss or gradient norm that is not finite, or a
// spike. All of it is arithmetic on numbers that all ranks have agreed on, so
// that all decide the same.

namespace mumoe::train {

/// How far a number lies above others.
struct RobustScore {
  double median = 0;
  /// (value - median) / (1.4826 · median absolute deviation), the latter at
  /// least a thousandth of the median: what hardly changes has no spikes.
  double deviations = 0;
};

/// Of `value` among `others`. Where all of them are 0, deviations are 0.
/// Requires at least one of them, all finite.
RobustScore robust_score(double value, const std::vector<double>& others);

/// How many steps there must be before spikes are told: half of `window`, but
/// at least 8.
std::int64_t least_history(std::int64_t window);

/// What is wrong with a step of these numbers, or "" if nothing is: "loss nan,
/// gradient norm inf (not finite)"; "loss 9.1 is 14.2 robust deviations above
/// the median 3.2 of 128 steps", of the loss first. Finite numbers are a spike
/// more than `spike` deviations above the median of the steps before (0:
/// never); below it none is.
std::string fault_of(double loss,
                     double norm,
                     const run::SpikeHistory& before,
                     double spike,
                     std::int64_t window);

/// Adds finite numbers of a step that counts, and keeps the last `window`.
/// Those of a spike count too where its update was left out: a level that
/// lasts becomes the level. A step that a run went back behind does not, since
/// the history goes back with it.
void remember(run::SpikeHistory& history,
              double loss,
              double norm,
              std::int64_t window);

/// How many bad steps there were since a run last came beyond the furthest of
/// them. Begins anew in a resumed run.
class BadRow {
 public:
  /// So many end a run.
  static constexpr int kMost = 20;

  /// Step `step` is bad. Returns how many there are in a row, it included.
  int bad(std::int64_t step);
  void good(std::int64_t step);

 private:
  int count_ = 0;
  std::int64_t furthest_ = 0;
};

/// "stop", "skip", "rewind": as in the configuration.
std::string_view name_of(run::BadStep action);

/// What metrics.jsonl says of a bad step.
struct BadStepReport {
  std::int64_t step = 0;
  run::BadStep action = run::BadStep::stop;
  double loss = 0;
  double grad_norm = 0;
  std::string why;  ///< `fault_of`, and what else made it end the run.
  /// World ranks whose own loss is not finite; all, where only what they have
  /// together is bad.
  std::vector<int> ranks = {};
  /// The step's samples as numbers of the run, [first, first + count).
  std::int64_t first = 0;
  std::int64_t count = 0;
  /// Those that `ranks` took, as indices of the data (`SampleOrder::index`).
  std::vector<std::uint64_t> indices = {};
};

/// A line for a person: the step, why, where, and what is done about it.
std::string describe(const BadStepReport& bad);

}  // namespace mumoe::train

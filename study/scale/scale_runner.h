#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "study/scale/launcher.h"
#include "study/scale/results_file.h"
#include "study/scale/scale_result.h"
#include "study/scale/scale_study.h"

namespace mumoe::study {

/// One run of a study: cell `cell`, for the `repeat`-th time.
struct StudyRun {
  std::size_t cell = 0;
  int repeat = 0;

  auto operator<=>(const StudyRun&) const = default;
};

/// What is left to measure of `study`: all runs that `results` has none of with
/// the same settings, and, with `retry`, those that failed. In turns: the first
/// repeat of all cells comes before the second of any, so that a slow minute of
/// the machine hits all alike.
std::vector<StudyRun> runs_left(const ScaleStudy& study,
                                const std::vector<ScaleResult>& results,
                                bool retry);

/// The results that are of `study`, as it is now: of cells that it has, with
/// their settings and repeats.
std::vector<ScaleResult> results_of(const ScaleStudy& study,
                                    const std::vector<ScaleResult>& results);

/// Measures a study, run by run. What a step waits for communication comes of a
/// short run more, which has a trace, of the first repeat of each cell: a trace
/// makes steps some 4 % slower.
class ScaleRunner {
 public:
  struct Hooks {
    std::function<bool()> stop;  ///< Whether to end before the end.
    std::function<void(const std::string&)> say;
    /// What is expected of a cell; empty, or none of a cell: nothing is.
    std::function<std::optional<Predicted>(const StudyCell&)> predict = {};
  };
  /// `study`, `launcher` and `folder` must outlive this.
  ScaleRunner(const ScaleStudy& study,
              const Launcher& launcher,
              StudyFolder& folder,
              Hooks hooks);

  /// Measures all of `left`; what fails is noted in the results and said. Of a
  /// cell that fails by what it is (bad input, numbers that are not finite) the
  /// other repeats are left out. False: stopped before its end.
  bool measure(const std::vector<StudyRun>& left);

 private:
  bool measure_one(const StudyRun& run);
  std::filesystem::path folder_of(const StudyCell& cell) const;
  bool measure_exposed(const StudyCell& cell, ScaleResult& result);
  ScaleResult begin_result(const StudyRun& run, const RunPlaces& places) const;
  void say(const StudyRun& run, const ScaleResult& result, double seconds);
  std::string time_left() const;

  const ScaleStudy& study_;
  const Launcher& launcher_;
  StudyFolder& folder_;
  Hooks hooks_;
  std::vector<StudyRun> left_;             ///< The rest.
  std::map<std::size_t, double> seconds_;  ///< The last of each cell.
  std::size_t finished_ = 0;
  std::size_t all_ = 0;
};

}  // namespace mumoe::study

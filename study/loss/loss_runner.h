#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "study/loss/loss_result.h"
#include "study/loss/loss_study.h"
#include "study/scale/launcher.h"

namespace mumoe::study {

/// Where run `run` of a study in `folder` keeps what it makes.
RunPlaces places_of(const LossRun& run, const std::filesystem::path& folder);

/// What is started for run `run`: its cell, and where it branches from.
StudyCell started_cell(const LossStudy& study,
                       const LossRun& run,
                       const std::filesystem::path& folder);

/// The last word on each run of `study`, of those that are of it as it is now:
/// with its settings; by index.
std::map<std::size_t, const LossResult*> known_losses(
    const LossStudy& study,
    const std::vector<LossResult>& results);

/// The runs of `study` that are left, by index, ascending: those that `results`
/// has no word on, with `retry` those that failed; and a part of a stable run
/// that one of these branches from, where `folder` has its checkpoint no more.
std::vector<std::size_t> losses_left(const LossStudy& study,
                                     const std::vector<LossResult>& results,
                                     const std::filesystem::path& folder,
                                     bool retry);

/// Runs a loss study, run by run. One that was stopped in its middle, by a
/// signal or with this process, goes on from its newest checkpoint.
class LossRunner {
 public:
  struct Hooks {
    std::function<bool()> stop;  ///< Whether to end before the end.
    std::function<void(const std::string&)> say;
  };
  /// `study`, `launcher` and `folder` must outlive this.
  LossRunner(const LossStudy& study,
             const Launcher& launcher,
             LossFolder& folder,
             Hooks hooks);

  /// Runs all of `left`; what fails is noted in the results and said, what
  /// branches from it is left out. False: stopped before its end.
  bool run(const std::vector<std::size_t>& left);

 private:
  bool run_one(std::size_t index);
  void prepare(const StudyCell& cell, const RunPlaces& places) const;
  LossResult begin_result(const LossRun& run, const StudyCell& cell) const;
  void say(const LossResult& result, double seconds);
  void drop_checkpoints() const;
  std::string time_left() const;

  const LossStudy& study_;
  const Launcher& launcher_;
  LossFolder& folder_;
  Hooks hooks_;
  std::set<std::size_t> there_;    ///< Came to their end.
  std::vector<std::size_t> left_;  ///< The rest.
  std::size_t over_ = 0;           ///< Of all runs.
};

}  // namespace mumoe::study

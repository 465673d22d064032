#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "study/experts/specialise_result.h"
#include "study/experts/specialise_study.h"
#include "study/scale/launcher.h"

namespace mumoe::study {

/// The cells of `study`, by index, that `results` has no word on, with `retry`
/// those that failed.
std::vector<std::size_t> heads_left(
    const SpecialiseStudy& study,
    const std::vector<SpecialiseResult>& results,
    bool retry);

/// The last word on each cell of `study`, in its order.
std::vector<SpecialiseResult> results_of(
    const SpecialiseStudy& study,
    const std::vector<SpecialiseResult>& results);

/// Trains the heads of a study and looks at each (`mumoe study specialise`), on
/// as many ranks. Checkpoints go when a head has been looked at, what was seen
/// stays beside its run: NAME.specialise.json.
class SpecialiseRunner {
 public:
  struct Hooks {
    std::function<bool()> stop;  ///< Whether to end before the end.
    std::function<void(const std::string&)> say;
  };
  /// `study`, `launcher` (of mpirun) and `folder` must outlive this.
  SpecialiseRunner(const SpecialiseStudy& study,
                   const Launcher& launcher,
                   SpecialiseFolder& folder,
                   Hooks hooks);

  /// Runs all of `left`; what fails is noted in the results and said. False:
  /// stopped before its end; a head that was on its way begins again.
  bool run(const std::vector<std::size_t>& left);

 private:
  bool run_one(const SpecialiseCell& cell);
  SpecialiseResult begin_result(const SpecialiseCell& cell,
                                const RunPlaces& places) const;
  /// Whether it was not stopped.
  bool look(const SpecialiseCell& cell,
            const RunPlaces& places,
            SpecialiseResult& result) const;
  void say(const SpecialiseResult& result);

  const SpecialiseStudy& study_;
  const Launcher& launcher_;
  SpecialiseFolder& folder_;
  Hooks hooks_;
  std::size_t over_ = 0;
  std::size_t left_ = 0;
  double seconds_ = 0;   ///< Of those that were run here,
  std::size_t ran_ = 0;  ///< and how many.
};

}  // namespace mumoe::study

#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "study/scale/process.h"
#include "study/scale/scale_study.h"

namespace mumoe::study {

/// Where a run keeps what it makes: all beside each other.
struct RunPlaces {
  explicit RunPlaces(const std::filesystem::path& folder)
      : out(folder), log(folder), job(folder), trace(folder) {
    log += ".log";
    job += ".sbatch";
    trace += ".trace";
  }

  std::filesystem::path out;  ///< The run directory.
  std::filesystem::path log;  ///< What it said.
  std::filesystem::path job;  ///< What sbatch said.
  std::filesystem::path trace;

  /// The trace of rank 0 of `ranks`.
  std::filesystem::path trace_of_rank_0(int ranks) const;
  /// Waits for a run that still ends there. Throws `InputError` where it does
  /// not.
  void await_end() const;
  /// After that, removes what an earlier try left.
  void clear() const;
  /// Removes what is large and said elsewhere: checkpoints, traces.
  void keep_figures() const;
};

/// Who starts the ranks of a run.
struct Launcher {
  enum class Kind { mpirun, slurm };
  Kind kind = Kind::mpirun;
  std::filesystem::path program;  ///< mumoe
  /// The folder with mpirun and slurm.sbatch, in the root of a clone.
  std::filesystem::path scripts;
  int ranks_per_node = 0;               ///< Of Slurm's; 0: all on one.
  std::vector<std::string> words = {};  ///< Further options of mpirun, sbatch.
  /// What a job of Slurm may take with its time in the queue.
  std::chrono::minutes queue{24 * 60};

  /// Throws `InputError` where `cell` cannot be dealt to nodes.
  void require_nodes(const StudyCell& cell) const;
  /// What runs `cell`.
  std::vector<std::string> words_of(const ScaleStudy& study,
                                    const StudyCell& cell,
                                    const RunPlaces& places) const;
  /// Runs it to its end, unless `stop` says so before. Throws `InputError`
  /// where nothing can be started.
  End run(const ScaleStudy& study,
          const StudyCell& cell,
          const RunPlaces& places,
          const std::function<bool()>& stop) const;
};

/// What is measured of a cell, on a command line: --config and its settings.
std::vector<std::string> measured_words(const ScaleStudy& study,
                                        const StudyCell& cell);

/// The scripts' folder of a clone: the nearest launch/ with mpirun above
/// `program`. Throws `InputError` where there is none.
std::filesystem::path scripts_above(const std::filesystem::path& program);

}  // namespace mumoe::study

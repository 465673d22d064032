#pragma once

#include <cstdint>
#include <string>

#include "run/options.h"
#include "study/predict/machine.h"
#include "study/predict/planner.h"

namespace mumoe::launch {

/// What `mumoe plan` was asked.
struct PlanQuestion {
  const run::Options& options;
  const study::Machine& machine;
  int nodes = 1;
  int gpus_per_node = 8;
  /// "--config configs/x.cfg --model.experts 64": what was given on the command
  /// line, and is the same for all layouts.
  std::string given = {};
  std::size_t rows = 10;  ///< Of the table.
  /// Of this machine: runs that were measured, and what is computed in.
  std::size_t measured = 0;
  std::string precision = {};

  bool here() const { return measured > 0; }
};

/// For a terminal of so many columns: the model, why layouts cannot be, where
/// the memory and the time of the fastest go, its command line; and the fastest
/// ones, with what a rank moves in a step over tp and dp.
std::string table_of(const PlanQuestion& question,
                     const study::Plans& plans,
                     std::size_t columns);

/// The same facts of all layouts.
std::string json_of(const PlanQuestion& question, const study::Plans& plans);

}  // namespace mumoe::launch

#pragma once

#include <string>

#include "run/options.h"
#include "study/predict/run_cost.h"
#include "study/simulate/simulation.h"

namespace mumoe::launch {

/// What was simulated, of whom, and what came of it.
struct SimulatedCase {
  const run::Options& options;
  const study::RunLayout& layout;
  std::string machine;    ///< "h100-80g: 2 nodes of 8 GPUs".
  std::string network;    ///< "its links", "link of 200 us, 0.2 GB/s".
  double peak_flops = 0;  ///< Of a rank; 0: not known.
  study::SimulatedStep step = {};
  double seconds = 0;  ///< That the simulation took.
};

/// For a terminal of so many columns.
std::string simulation_table(const SimulatedCase& simulated,
                             std::size_t columns);
/// The same facts.
std::string simulation_json(const SimulatedCase& simulated);

}  // namespace mumoe::launch

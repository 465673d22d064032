#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "model/cost.h"
#include "run/options.h"

namespace mumoe::launch {

/// The world of `parallel.backend = null`, in which rank 0 of dp × tp runs
/// alone, in one of `processes`. Throws `InputError` unless dp is given, there
/// is one process, and the run writes and resumes nothing.
std::unique_ptr<dist::Communicator> make_null_world(const run::Options& options,
                                                    int processes);

/// The time and the memory of one rank's steps.
class StepCosts {
 public:
  /// Call after each step.
  void step_ended();
  /// Lines: median time of a step but the first; what `cost` says, bytes of
  /// parameters, gradients, the optimizer's state (masters and two moments like
  /// them) and of what is kept for backward; the largest size of the process
  /// and, of a GPU, what tensors held at most.
  std::string report(const model::Cost& cost, at::Device device) const;

 private:
  std::vector<std::chrono::steady_clock::time_point> ends_;
};

}  // namespace mumoe::launch

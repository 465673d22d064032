#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/params/flat_buckets.h"
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
  /// Lines: median time of a step but the first, bytes of parameters,
  /// gradients and the optimizer's state (masters and two moments like them),
  /// largest size of the process and, of a GPU, what tensors held at most.
  std::string report(const dist::FlatBuckets& buckets) const;

 private:
  std::vector<std::chrono::steady_clock::time_point> ends_;
};

}  // namespace mumoe::launch

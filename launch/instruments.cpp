#include "launch/instruments.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/error.h"
#include "dist/params/replica_check.h"

namespace mumoe::launch {

Instruments::Instruments(const run::Options& options, dist::Communicator& world)
    : check_replicas_(options.parallel.check_replicas) {
  if (!options.parallel.link.empty()) {
    link_.emplace(dist::parse_link(options.parallel.link));
  }
  if (!options.trace.empty()) trace_.emplace(options.trace, world);
}

void Instruments::observe(dist::ProcessMesh& mesh) {
  if (link_) mesh.observe(*link_);
  if (trace_) mesh.observe(*trace_);  // sees times as the link leaves them
}

std::function<void(std::int64_t)> Instruments::after_step(
    const dist::FlatBuckets& buckets,
    const dist::ProcessMesh& mesh) const {
  const dist::ReplicaCheck check(buckets, mesh);
  return [check, every = check_replicas_](std::int64_t step) {
    if (every > 0 && step % every == 0) check.run(step);
  };
}

std::string Instruments::finish() {
  if (!trace_) return {};
  try {
    trace_->finish();
  } catch (const InputError& error) {
    // What was asked for beside the run; the run itself has come to its end.
    std::fprintf(stderr, "mumoe: %s\n", error.what());
    return {};
  }
  const dist::GradientOverlap found = trace_->gradient_overlap();
  std::string line = fmt::format("trace: {} steps in {}",
                                 found.steps,
                                 trace_->file().string());
  if (found.busy_s > 0) {
    const auto steps = static_cast<double>(found.steps);
    line += fmt::format(
        "; gradients under way {:.1f} ms a step, waited for {:.1f} ms "
        "({:.1f} % exposed)",
        1e3 * found.busy_s / steps,
        1e3 * found.wait_s / steps,
        100 * found.exposed());
  }
  return line;
}

}  // namespace mumoe::launch

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dist/host_map.h"
#include "dist/process_mesh.h"
#include "dist/watch/fingerprint.h"
#include "dist/watch/watchdog.h"
#include "launch/commands.h"
#include "run/options.h"

namespace mumoe::launch {

/// What watches a run from its first collective to its last, as [parallel]
/// asks: the watchdog (`deadline`), which also sees other ranks of this host
/// die; the comparison of collectives (`check_collectives`); and the observers
/// of the invocation. Lives from right after the mesh to the end of the run.
class Guards {
 public:
  /// What a backend adds to the watchdog (`dist::Watchdog::Options`).
  struct Backend {
    std::vector<std::function<std::string()>> polls;
    std::vector<std::function<void()>> aborts;
  };

  /// Collective. The deadlines of the mesh's groups become longer than the
  /// watchdog's, which says more and therefore goes first.
  Guards(const run::ParallelOptions& options,
         dist::ProcessMesh& mesh,
         const dist::HostMap& hosts,
         const Invocation& invocation,
         Backend backend = {});

 private:
  dist::Watchdog watchdog_;
  std::optional<dist::FingerprintCheck> check_;
};

/// `parallel.deadline` as the deadlines of communicators have it.
std::chrono::milliseconds deadline_of(const run::ParallelOptions& options);

}  // namespace mumoe::launch

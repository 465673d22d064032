#include "launch/guards.h"

#include <cstdio>
#include <cstdlib>

namespace mumoe::launch {
namespace {

using namespace std::chrono_literals;

// By how much an operation may take longer than the longest stage: the watchdog
// has then failed to see it.
constexpr auto kMargin = 30s;
// On several hosts, the daemons of Open MPI miss one that cannot be reached
// after some 20 s (launch/mpirun sets that), and end the job. A rank that asks
// them to end it before keeps them from finding out: their connection is no
// longer idle, and they wait for it up to a quarter of an hour.
constexpr auto kDaemonsMiss = 30s;

dist::Watchdog::Options watchdog_options(const ParallelOptions& options,
                                         const dist::HostMap& hosts,
                                         const Invocation& invocation,
                                         const dist::LocalPeers& peers,
                                         Guards::Backend backend) {
  backend.polls.emplace_back([&peers] { return peers.gone(); });
  const bool one_host = hosts.hosts().size() == 1;
  return {.deadlines = dist::Deadlines::of(deadline_of(options)),
          .least = one_host ? 0s : kDaemonsMiss,
          .polls = std::move(backend.polls),
          .note = [&peers] { return peers.stopped(); },
          .aborts = std::move(backend.aborts),
          .print =
              [](const std::string& line) {
                std::fprintf(stderr, "mumoe: %s\n", line.c_str());
              },
          .end =
              [&mpi = invocation.mpi] {
                if (mpi) mpi->abort(ExitCode::communication);
                std::fflush(nullptr);
                std::_Exit(static_cast<int>(ExitCode::communication));
              }};
}

}  // namespace

Guards::Guards(const ParallelOptions& options,
               dist::ProcessMesh& mesh,
               const dist::HostMap& hosts,
               const Invocation& invocation,
               Backend backend)
    : peers_(mesh.world()),
      watchdog_(mesh,
                watchdog_options(options,
                                 hosts,
                                 invocation,
                                 peers_,
                                 std::move(backend))) {
  mesh.set_deadline(dist::Deadlines::of(deadline_of(options)).longest() +
                    kMargin);
  mesh.observe(watchdog_);
  if (options.check_collectives) {
    check_.emplace(mesh);
    mesh.observe(*check_);
  }
  for (dist::Observer* observer : invocation.observers) mesh.observe(*observer);
}

std::chrono::milliseconds deadline_of(const ParallelOptions& options) {
  return std::chrono::milliseconds(
      static_cast<std::int64_t>(options.deadline * 1000));
}

}  // namespace mumoe::launch

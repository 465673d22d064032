#include "launch/guards.h"

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "dist/watch/local_peers.h"

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

dist::Watchdog::Options watchdog_options(const run::ParallelOptions& options,
                                         const dist::HostMap& hosts,
                                         const Invocation& invocation,
                                         Guards::Backend backend,
                                         dist::Communicator& world) {
  // Owned by what asks it, which may be left behind.
  const auto peers = invocation.mpi
                         ? invocation.mpi->peers()
                         : std::make_shared<const dist::LocalPeers>(world);
  backend.polls.emplace_back([peers] { return peers->gone(); });
  const bool one_host = hosts.hosts().size() == 1;
  return {.deadlines = dist::Deadlines::of(deadline_of(options)),
          .least = one_host ? 0s : kDaemonsMiss,
          .polls = std::move(backend.polls),
          .ending = [peers] { return peers->ending().has_value(); },
          .note = [peers] { return peers->stopped(); },
          .aborts = std::move(backend.aborts),
          .print =
              [](const std::string& line) {
                std::fprintf(stderr, "mumoe: %s\n", line.c_str());
              },
          .end =
              [&mpi = invocation.mpi, peers] {
                const auto other = peers->ending();
                const auto code = other ? other->code : ExitCode::communication;
                if (mpi) mpi->abort(code);
                std::fflush(nullptr);
                std::_Exit(static_cast<int>(code));
              }};
}

}  // namespace

Guards::Guards(const run::ParallelOptions& options,
               dist::ProcessMesh& mesh,
               const dist::HostMap& hosts,
               const Invocation& invocation,
               Backend backend)
    : watchdog_(mesh,
                watchdog_options(options,
                                 hosts,
                                 invocation,
                                 std::move(backend),
                                 mesh.world())) {
  mesh.set_deadline(dist::Deadlines::of(deadline_of(options)).longest() +
                    kMargin);
  mesh.observe(watchdog_);
  if (options.check_collectives) {
    check_.emplace(mesh);
    mesh.observe(*check_);
  }
  for (dist::Observer* observer : invocation.observers) mesh.observe(*observer);
}

std::chrono::milliseconds deadline_of(const run::ParallelOptions& options) {
  return std::chrono::milliseconds(
      static_cast<std::int64_t>(options.deadline * 1000));
}

}  // namespace mumoe::launch

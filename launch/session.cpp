#include "launch/session.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "dist/params/replica_check.h"
#include "dist/self_communicator.h"
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

DeviceChoice choose_device_of(const run::Options& options,
                              dist::Communicator& world,
                              const Invocation& invocation,
                              bool alone) {
  const int local_rank = invocation.mpi ? invocation.mpi->local_rank() : 0;
  const auto self = dist::make_self_communicator(at::kCPU);
  auto chosen =
      choose_device(options, alone ? *self : world, gpus_here(local_rank));
  use_device(chosen.device);
  return chosen;
}

// How long the ranks that do not speak wait for the one that does.
constexpr auto kSpeaker = 5s;

/// Which ranks of this host are gone. Of those that miss them the lowest says
/// so, for all; the others when nothing comes of that.
std::function<std::string()> find_gone(
    std::shared_ptr<const dist::LocalPeers> peers) {
  using Clock = std::chrono::steady_clock;
  const auto since = std::make_shared<std::optional<Clock::time_point>>();
  return [peers = std::move(peers), since] {
    std::string text = peers->gone();
    if (text.empty()) return text;
    if (!*since) *since = Clock::now();
    if (!peers->is_lowest() && Clock::now() - **since < kSpeaker) {
      return std::string();
    }
    peers->tell(ExitCode::communication);
    if (const int others = peers->running(); others > 0) {
      text += fmt::format(", and {} other {} with it",
                          others,
                          others == 1 ? "rank ends" : "ranks end");
    }
    return text;
  };
}

/// What the watchdog asks of the other ranks of this host and of NCCL, and does
/// to it before the job ends.
dist::Watchdog::Options watchdog_options(const run::ParallelOptions& options,
                                         const Session& session,
                                         const Invocation& invocation) {
  const auto& mpi = invocation.mpi;
  // Owned by what asks it, which may be left behind.
  const auto peers =
      mpi ? mpi->peers()
          : std::make_shared<const dist::LocalPeers>(session.mesh.control());
  const bool one_host = session.hosts.hosts().size() == 1;
  dist::Watchdog::Options watchdog{
      .deadlines = dist::Deadlines::of(deadline_of(options)),
      .least = one_host ? 0s : kDaemonsMiss,
      .polls = {},
      .ending = [peers] { return peers->ending().has_value(); },
      .note = [peers] { return peers->stopped(); },
      .aborts = {},
      .print =
          [log = session.log](const std::string& line) {
            std::fprintf(stderr, "mumoe: %s\n", line.c_str());
            log->keep("mumoe: " + line);
          },
      .end =
          [&mpi, peers] {
            const auto other = peers->ending();
            const auto code = other ? other->code : ExitCode::communication;
            if (mpi) mpi->abort(code);
            std::fflush(nullptr);
            std::_Exit(static_cast<int>(code));
          }};
  const DataCommunicator& carrier = session.carrier;
  if (carrier.async_error) watchdog.polls.push_back(carrier.async_error);
  watchdog.polls.emplace_back(find_gone(peers));
  if (carrier.abort) {
    watchdog.aborts.emplace_back(
        [abort = carrier.abort] { abort("the watchdog ends the job", 5s); });
  }
  return watchdog;
}

void require_tp_within(const dist::HostMap& hosts) {
  try {
    hosts.require_tp_within_hosts();
  } catch (const InputError& error) {
    fail<InputError>("{}, or give --parallel.tp_across_hosts yes",
                     error.what());
  }
}

}  // namespace

Session::Session(const run::Options& options,
                 dist::Communicator& world,
                 const Invocation& invocation) try
    : log(invocation.log),
      check_replicas(options.parallel.check_replicas),
      alone(options.parallel.backend == run::BackendChoice::null),
      chosen(choose_device_of(options, world, invocation, alone)),
      carrier(make_data_communicator(options.parallel, chosen, world)),
      mesh(world,
           options.parallel.dp,
           options.parallel.tp,
           carrier.group.get()),
      hosts(mesh) {
  // One rank alone has no others to wait for, or to share a host with.
  if (alone) {
    require(!options.parallel.check_collectives,
            "parallel.check_collectives = yes: parallel.backend = null has no "
            "other ranks to compare with");
  } else {
    if (!options.parallel.tp_across_hosts) require_tp_within(hosts);
    watch(options.parallel, invocation);
  }
  if (!options.parallel.link.empty()) {
    link.emplace(dist::parse_link(options.parallel.link));
    mesh.observe(*link);
  }
  if (!options.trace.empty()) {
    trace.emplace(options.trace, world);
    mesh.observe(*trace);  // last: sees times as the link leaves them
  }
} catch (const InputError& error) {
  throw run::with_keys(error, {"parallel", ""});
}

void Session::watch(const run::ParallelOptions& options,
                    const Invocation& invocation) {
  watchdog.emplace(mesh, watchdog_options(options, *this, invocation));
  mesh.set_deadline(dist::Deadlines::of(deadline_of(options)).longest() +
                    kMargin);
  mesh.observe(*watchdog);
  if (options.check_collectives) {
    comparison.emplace(mesh);
    mesh.observe(*comparison);
  }
  for (dist::Observer* observer : invocation.observers) mesh.observe(*observer);
}

void Session::say(const std::string& line) const {
  if (mesh.control().rank() == 0 && !line.empty()) log->say(line);
}

std::function<void(std::int64_t)> Session::after_step(
    const dist::FlatBuckets& buckets) const {
  const dist::ReplicaCheck check(buckets, mesh);
  return [check, every = check_replicas](std::int64_t step) {
    if (every > 0 && step % every == 0) check.run(step);
  };
}

std::string Session::finish_trace() {
  if (!trace) return {};
  try {
    trace->finish();
  } catch (const InputError& error) {
    // What was asked for beside the run; the run itself has come to its end.
    std::fprintf(stderr, "mumoe: %s\n", run::with_keys(error, {""}).what());
    return {};
  }
  const dist::GradientOverlap found = trace->gradient_overlap();
  std::string line =
      fmt::format("trace: {} steps in {}", found.steps, trace->file().string());
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

std::chrono::milliseconds deadline_of(const run::ParallelOptions& options) {
  return std::chrono::milliseconds(
      static_cast<std::int64_t>(options.deadline * 1000));
}

}  // namespace mumoe::launch

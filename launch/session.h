#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "dist/host_map.h"
#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "dist/watch/fingerprint.h"
#include "dist/watch/link_model.h"
#include "dist/watch/trace.h"
#include "dist/watch/watchdog.h"
#include "launch/commands.h"
#include "launch/device_choice.h"
#include "run/options.h"

namespace mumoe::launch {

/// One rank's side of a job, from its first collective to its last: what moves
/// its tensors, the mesh, and what watches them, as [parallel] and log.trace
/// ask: the model of a slow link, the trace, the watchdog, which also sees
/// other ranks of this host die, the comparison of collectives, and the
/// observers of the invocation. Members go in the reverse order of their
/// making, which is that of their dependence.
struct Session {
  /// Collective over `world`. Throws `InputError` for a mesh, a device or hosts
  /// that cannot be, a link that cannot be read and a trace that cannot be
  /// written. The deadlines of the mesh's groups become longer than the
  /// watchdog's, which says more and therefore goes first.
  Session(const run::Options& options,
          dist::Communicator& world,
          const Invocation& invocation);

  /// Prints on world rank 0, and keeps in the log; nothing for an empty line.
  void say(const std::string& line) const;
  /// What to call after each step, with its number: compares replicas every
  /// `parallel.check_replicas` steps. Collective. `buckets` must outlive it.
  std::function<void(std::int64_t)> after_step(
      const dist::FlatBuckets& buckets) const;
  /// Writes the trace, and says in a line or none what it found. One that
  /// cannot be written is a line on stderr.
  std::string finish_trace();

  std::shared_ptr<RunLog> log;
  std::int64_t check_replicas;
  std::optional<dist::LinkModel> link;
  std::optional<dist::Trace> trace;
  /// Whether this rank runs without the others (parallel.backend = null).
  bool alone;
  DeviceChoice chosen;
  DataCommunicator carrier;
  dist::ProcessMesh mesh;
  dist::HostMap hosts;
  std::optional<dist::Watchdog> watchdog;
  std::optional<dist::FingerprintCheck> comparison;

 private:
  void watch(const run::ParallelOptions& options, const Invocation& invocation);
};

/// `parallel.deadline` as the deadlines of communicators have it.
std::chrono::milliseconds deadline_of(const run::ParallelOptions& options);

}  // namespace mumoe::launch

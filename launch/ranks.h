#pragma once

#include <optional>
#include <string>

#include "dist/host_map.h"
#include "dist/process_mesh.h"
#include "launch/commands.h"
#include "launch/device_choice.h"
#include "launch/guards.h"
#include "launch/instruments.h"
#include "run/options.h"

namespace mumoe::launch {

/// The ranks of a run as one of them has them: what moves its tensors, the
/// mesh, and what watches it. Members go in the reverse order of their making,
/// which is that of their dependence.
struct Ranks {
  /// Collective over `world`. Settles device and backend in `options`. Throws
  /// `InputError` for a mesh, a device or hosts that cannot be.
  Ranks(run::Options& options,
        dist::Communicator& world,
        const Invocation& invocation);

  /// Prints on world rank 0; nothing for an empty line.
  void say(const std::string& line) const;

  Instruments instruments;
  /// Whether this rank runs without the others (parallel.backend = null).
  bool alone;
  DeviceChoice chosen;
  DataCommunicator carrier;
  dist::ProcessMesh mesh;
  dist::HostMap hosts;
  std::optional<Guards> guards;
};

}  // namespace mumoe::launch

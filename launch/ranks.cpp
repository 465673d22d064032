#include "launch/ranks.h"

#include <chrono>
#include <cstdio>

#include "base/error.h"
#include "dist/self_communicator.h"

namespace mumoe::launch {
namespace {

/// What the watchdog asks of NCCL, and does to it before the job ends.
Guards::Backend backend_of(const DataCommunicator& carrier) {
  Guards::Backend found;
  if (carrier.async_error) found.polls.push_back(carrier.async_error);
  if (carrier.abort) {
    found.aborts.emplace_back([abort = carrier.abort] {
      abort("the watchdog ends the job", std::chrono::seconds(5));
    });
  }
  return found;
}

DeviceChoice choose_device_of(run::Options& options,
                              dist::Communicator& world,
                              const Invocation& invocation,
                              bool alone) {
  const int local_rank = invocation.mpi ? invocation.mpi->local_rank() : 0;
  const auto self = dist::make_self_communicator(at::kCPU);
  return choose_device(options, alone ? *self : world, gpus_here(local_rank));
}

}  // namespace

Ranks::Ranks(run::Options& options,
             dist::Communicator& world,
             const Invocation& invocation)
    : instruments(options, world),
      alone(options.parallel.backend == run::BackendChoice::null),
      chosen(choose_device_of(options, world, invocation, alone)),
      carrier(make_data_communicator(options, world, chosen.device)),
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
    if (!options.parallel.tp_across_hosts) hosts.require_tp_within_hosts();
    guards.emplace(options.parallel,
                   mesh,
                   hosts,
                   invocation,
                   backend_of(carrier));
  }
  instruments.observe(mesh);
}

void Ranks::say(const std::string& line) const {
  if (mesh.world().rank() != 0 || line.empty()) return;
  // Not a stream that throws: the terminal may have been closed.
  std::fputs((line + "\n").c_str(), stdout);
}

}  // namespace mumoe::launch

#pragma once

#include <string>

#include "dist/communicator.h"

namespace mumoe::dist {

/// The GPU of one rank.
struct DevicePlace {
  std::string host = {};     ///< Its name, for messages.
  std::string machine = {};  ///< The same for all processes of one host.
  int device = 0;            ///< As this process numbers them.
  int visible = 0;           ///< How many GPUs this process sees.
  std::string address =
      {};  ///< On the PCI bus; empty when there is no such GPU.
};

/// This process's host, without a GPU: `machine` tells hosts of one name apart.
DevicePlace this_host();

/// Collective over `control`, whose tensors are on the CPU. Throws on all ranks
/// the same `InputError` when a rank has no GPU, or two of one host share one,
/// which NCCL answers with a hang or an error that names neither.
void require_own_devices(Communicator& control, const DevicePlace& mine);

}  // namespace mumoe::dist

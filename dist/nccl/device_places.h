#pragma once

#include <string>

#include "dist/communicator.h"
#include "dist/host.h"

namespace mumoe::dist {

/// The GPU of one rank.
struct DevicePlace {
  Host host = {};
  int device = 0;   ///< As this process numbers them.
  int visible = 0;  ///< How many GPUs this process sees.
  /// On the PCI bus; empty when there is no such GPU.
  std::string address = {};
  /// Why it cannot be used though there may be one: CUDA's words, or empty.
  std::string fault = {};
};

/// The GPU, as the process numbers those it sees, of the rank of number
/// `local_rank` on its host: the only one that it sees, where the launcher
/// gives each rank its own, else that of its number.
int device_of(int local_rank, int visible);

/// What is wrong with the GPUs of the ranks of `control`, whose tensors are on
/// the CPU: the first rank that CUDA gives an error, the first that has none,
/// or the first two that share one. Empty: nothing. Collective; the same on all
/// ranks.
std::string find_device_fault(Communicator& control, const DevicePlace& mine);

/// Throws that as an `InputError`: NCCL would answer with a hang, or with an
/// error that names no rank. Collective.
void require_own_devices(Communicator& control, const DevicePlace& mine);

}  // namespace mumoe::dist

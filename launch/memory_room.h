#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "dist/host_map.h"
#include "dist/process_mesh.h"
#include "study/predict/memory_estimate.h"

namespace mumoe::launch {

/// What processes of this machine, below `root`, can still allocate: the memory
/// that is available, or what the limits of this process's control groups leave
/// if that is less. Negative: not known.
double available_memory(const std::filesystem::path& root = "/");

/// The same of a device.
double available_memory(at::Device device);

/// All that processes could allocate on it if nobody else did: of a CPU memory
/// and swap, each within the limits of this process's control groups below
/// `root`.
/// Negative: not known.
double whole_memory(at::Device device, const std::filesystem::path& root = "/");

/// What a rank will allocate for its model, and what there is for it before.
struct MemoryNeed {
  double needed = 0;
  double available = 0;  ///< Negative: not known.
};

/// Which ranks that share a memory, those of a host or, `each` of them alone,
/// those of a GPU, do not fit into it, with what they need and have: those that
/// lack most. Empty where all fit. `needs` by world rank.
std::string lacking_memory(const std::vector<MemoryNeed>& needs,
                           const dist::HostMap& hosts,
                           bool each);

/// The needs of all ranks: of this one `needed`, and what there is for it. Of a
/// rank that runs `alone` no others count. Collective.
std::vector<MemoryNeed> gather_needs(const MemoryNeed& here,
                                     const dist::ProcessMesh& mesh,
                                     bool alone);

/// What the start table says of memory: this rank's estimate, and the warning.
/// `available`, on its device, as it was before the model was made. Of a rank
/// that runs `alone` no others count. Collective.
std::vector<std::string> memory_lines(const study::MemoryEstimate& estimate,
                                      double available,
                                      at::Device device,
                                      const dist::ProcessMesh& mesh,
                                      const dist::HostMap& hosts,
                                      bool alone);

}  // namespace mumoe::launch

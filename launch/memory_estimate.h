#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "dist/host_map.h"
#include "dist/process_mesh.h"
#include "model/cost.h"
#include "model/families.h"

namespace mumoe::launch {

/// What a rank will hold at most while it trains, bytes.
struct MemoryEstimate {
  /// The process without the model: LibTorch, MPI, the data that were looked
  /// at.
  double program = 0;
  dist::ParameterBytes parameters = {};
  /// Kept from forward for backward.
  double kept = 0;
  /// What backward makes and frees on the way, and libraries for themselves.
  double workspace = 0;
  /// The copy from which a checkpoint is written behind the run: in the memory
  /// of the host.
  double saving = 0;

  /// On the device of the model; the program is not there unless that is a CPU.
  double model() const {
    return static_cast<double>(parameters.weights + parameters.gradients +
                               parameters.optimizer) +
           kept + workspace;
  }
  double of_cpu() const { return model() + program + saving; }
};

/// Of a run in `dtype` on a CPU or a GPU with `micro_batch` samples at once
/// over `tp` ranks, the process of which holds `program` bytes before it makes
/// the model.
MemoryEstimate estimate_memory(const model::Cost& cost,
                               const model::Workspace& samples,
                               std::int64_t micro_batch,
                               int tp,
                               at::ScalarType dtype,
                               bool on_cpu,
                               double program);

/// "memory   about 880 MiB a rank: ..." for the start table.
std::string describe_memory(const MemoryEstimate& estimate, bool on_cpu);

/// What processes of this machine, below `root`, can still allocate: the memory
/// that is available, or what the limits of this process's control groups leave
/// if that is less. Negative: not known.
double available_memory(const std::filesystem::path& root = "/");

/// The same of a device.
double available_memory(at::Device device);

/// What a rank will allocate for its model, and what there is for it before.
struct MemoryNeed {
  double needed = 0;
  double available = 0;  ///< Negative: not known.
};

/// A line where ranks that share a memory, those of a host or, `each` of them
/// alone, those of a GPU, do not fit into it: of the one that lacks most. Empty
/// where all fit. `needs` by world rank.
std::string warn_of_memory(const std::vector<MemoryNeed>& needs,
                           const dist::HostMap& hosts,
                           bool each);

/// What the start table says of memory: this rank's estimate, and the warning.
/// `available`, on its device, as it was before the model was made. Of a rank
/// that runs `alone` no others count. Collective.
std::vector<std::string> memory_lines(const MemoryEstimate& estimate,
                                      double available,
                                      at::Device device,
                                      const dist::ProcessMesh& mesh,
                                      const dist::HostMap& hosts,
                                      bool alone);

}  // namespace mumoe::launch

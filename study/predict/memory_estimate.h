#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "model/cost.h"
#include "model/families.h"

namespace mumoe::study {

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
  /// Of that, gradients of the widest activations, of an embedding, and logits.
  double wide = 0, embeddings = 0, logits = 0;
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

}  // namespace mumoe::study

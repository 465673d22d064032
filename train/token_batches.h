#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "data/batch.h"
#include "data/prefetch.h"
#include "data/sampler.h"
#include "data/text/token_file.h"
#include "dist/process_mesh.h"

namespace mumoe::train {

/// How the samples of a step are dealt to ranks and micro-batches.
struct BatchPlan {
  std::int64_t batch = 0;        ///< Samples a step, all ranks.
  std::int64_t per_rank = 0;     ///< Samples a step of one dp rank.
  std::int64_t micro_batch = 0;  ///< Samples a rank holds at once.
  std::int64_t micro_steps = 0;  ///< Backward passes a step.

  /// `micro_batch` 0: all samples of a rank at once. Throws `InputError` when
  /// the samples do not divide.
  static BatchPlan make(std::int64_t batch,
                        std::int64_t micro_batch,
                        std::int64_t dp_size);
};

/// This rank's micro-batches of a training run, prepared ahead by a thread.
/// Sample j of step s is number s · batch + j of the run, whatever the layout;
/// dp rank r takes a contiguous run of them.
class TokenBatches {
 public:
  /// Starts with sample number `first_sample` of the run.
  TokenBatches(const data::TokenFile& file,
               const data::WindowSampler& sampler,
               const BatchPlan& plan,
               int dp_rank,
               std::int64_t first_sample,
               at::Device device);

  /// The next micro-batch, [micro_batch, context + 1] int64.
  at::Tensor next();

 private:
  at::Device device_;
  data::Prefetcher prefetcher_;
};

/// A batch as a tensor [samples, length] int64.
at::Tensor to_tensor(const data::Batch& batch, at::Device device);

}  // namespace mumoe::train

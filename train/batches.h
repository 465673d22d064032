#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "data/order.h"
#include "data/prefetch.h"
#include "data/samples.h"
#include "model/model.h"

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

/// The samples of each micro-batch, by its number.
using Deal = std::function<std::vector<std::uint64_t>(std::uint64_t micro)>;

/// Those that dp rank `dp_rank` trains on, from sample number `first` of the
/// run on. Sample j of step s is number s · batch + j of the run, whatever the
/// layout; each rank takes a contiguous run of them.
Deal deal_training(const data::Order& order,
                   const BatchPlan& plan,
                   int dp_rank,
                   std::int64_t first);

/// Micro-batches on a device, prepared ahead by a thread.
class Batches {
 public:
  /// `samples` must outlive this.
  Batches(const data::Samples& samples, Deal deal, at::Device device);

  model::Batch next();

 private:
  at::Device device_;
  data::Prefetcher prefetcher_;
};

}  // namespace mumoe::train

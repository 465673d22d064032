#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "data/prefetch.h"
#include "data/samples.h"
#include "data/sequence.h"
#include "model/model.h"

namespace mumoe::train {

/// Samples of a step that follow each other: `begin` is the place of the first
/// in the step.
struct SampleRun {
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

/// How the samples of a step are dealt to ranks and micro-batches: each dp rank
/// takes a contiguous run of them, and cuts it into as many micro-batches as
/// the others. Both cuts are as even as can be, the longer parts first: 16
/// samples on 3 ranks are 6, 5 and 5.
struct BatchPlan {
  std::int64_t batch = 0;        ///< Samples a step, all ranks.
  std::int64_t per_rank = 0;     ///< Samples a step of a dp rank, at most.
  std::int64_t micro_batch = 0;  ///< Samples a rank holds at once, at most.
  std::int64_t micro_steps = 0;  ///< Backward passes a step, of every rank.
  std::int64_t ranks = 1;        ///< Of dp.

  /// `micro_batch` 0: all samples of a rank at once. Where the ranks divide the
  /// batch it must divide what each has, else it is the most that a rank holds.
  /// Throws `InputError` where it does not, or a rank would have no sample.
  static BatchPlan make(std::int64_t batch,
                        std::int64_t micro_batch,
                        std::int64_t dp_size);

  SampleRun of_rank(int dp_rank) const;
  /// Where a rank has fewer samples than there are micro-batches, its last one
  /// counts none.
  SampleRun of_micro_batch(int dp_rank, std::int64_t micro) const;
  /// Samples that a rank holds at once, at least.
  std::int64_t least_micro_batch() const;
  /// Whether a micro-batch of any rank counts none.
  bool has_empty_micro_batches() const { return batch / ranks < micro_steps; }
};

/// The samples of each micro-batch, by its number; at least one.
using Deal = std::function<std::vector<std::uint64_t>(std::uint64_t micro)>;

/// The numbers of those that dp rank `dp_rank` trains on, from number `first`
/// of the run on. Sample j of step s is number first + s · batch + j, whatever
/// the layout. A micro-batch that counts no sample holds the last one of its
/// rank again, to be weighted with 0: the rank takes part in what all do.
Deal deal_training(const BatchPlan& plan, int dp_rank, std::int64_t first);

/// Micro-batches on a device, prepared ahead by a thread.
class Batches {
 public:
  /// Of a run: `deal` gives numbers of `sequence`, which must outlive this.
  Batches(const data::Sequence& sequence, Deal deal, at::Device device);
  /// `deal` gives indices of `samples`, which must outlive this; the batches
  /// have no ids.
  Batches(const data::Samples& samples, Deal deal, at::Device device);

  model::Batch next();
  /// What the batch that `next` gave last adds to the digest of its step, by
  /// the numbers and indices that came with it.
  std::uint64_t digest() const { return digest_; }

 private:
  at::Device device_;
  std::uint64_t digest_ = 0;
  data::Prefetcher prefetcher_;
};

}  // namespace mumoe::train

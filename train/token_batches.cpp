#include "train/token_batches.h"

#include <ATen/ATen.h>

#include <limits>
#include <numeric>
#include <vector>

#include "base/error.h"

namespace mumoe::train {

BatchPlan BatchPlan::make(std::int64_t batch,
                          std::int64_t micro_batch,
                          std::int64_t dp_size) {
  require(batch > 0, "train.batch = {}: expected at least 1", batch);
  // Times any context, so many tokens can be counted.
  constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max();
  require(batch <= kLargest,
          "train.batch = {}: expected at most {}",
          batch,
          kLargest);
  require(micro_batch >= 0,
          "train.micro_batch = {}: expected auto or at least 1",
          micro_batch);
  require(batch % dp_size == 0,
          "train.batch = {}: {} data-parallel ranks do not divide it",
          batch,
          dp_size);
  const std::int64_t per_rank = batch / dp_size;
  if (micro_batch == 0) micro_batch = per_rank;
  require(per_rank % micro_batch == 0,
          "train.micro_batch = {}: does not divide the {} samples of a rank "
          "(train.batch {} over {} data-parallel ranks)",
          micro_batch,
          per_rank,
          batch,
          dp_size);
  return {batch, per_rank, micro_batch, per_rank / micro_batch};
}

TokenBatches::TokenBatches(const data::TokenFile& file,
                           const data::WindowSampler& sampler,
                           const BatchPlan& plan,
                           int dp_rank,
                           std::int64_t first_sample,
                           at::Device device)
    : device_(device),
      prefetcher_(
          [&file, &sampler, plan, dp_rank, first_sample](std::uint64_t index) {
            const auto micro = static_cast<std::int64_t>(index);
            const std::int64_t first =
                first_sample + micro / plan.micro_steps * plan.batch +
                dp_rank * plan.per_rank +
                micro % plan.micro_steps * plan.micro_batch;
            std::vector<std::uint64_t> samples(plan.micro_batch);
            std::iota(samples.begin(), samples.end(), first);
            return data::sample_batch(file, sampler, samples);
          }) {}

at::Tensor TokenBatches::next() {
  return to_tensor(prefetcher_.next(), device_);
}

at::Tensor to_tensor(const data::Batch& batch, at::Device device) {
  return at::from_blob(const_cast<std::int32_t*>(batch.tokens.data()),
                       {batch.samples, batch.length},
                       at::kInt)
      .to(at::TensorOptions(at::kLong).device(device));
}

}  // namespace mumoe::train

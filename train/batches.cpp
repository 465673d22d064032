#include "train/batches.h"

#include <ATen/ATen.h>

#include <limits>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/error.h"

namespace mumoe::train {
namespace {

at::Tensor place(const data::Rows& rows,
                 std::int64_t samples,
                 at::Device device) {
  return std::visit(
      [&]<class Number>(const std::vector<Number>& values) {
        constexpr bool kWhole = std::is_same_v<Number, std::int32_t>;
        return at::from_blob(
                   const_cast<Number*>(values.data()),
                   {samples,
                    static_cast<std::int64_t>(values.size()) / samples},
                   kWhole ? at::kInt : at::kFloat)
            .to(device,
                kWhole ? at::kLong : at::kFloat,
                /*non_blocking=*/false,
                /*copy=*/true);
      },
      rows);
}

}  // namespace

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

Deal deal_training(const data::Order& order,
                   const BatchPlan& plan,
                   int dp_rank,
                   std::int64_t first) {
  return [order, plan, dp_rank, first](std::uint64_t index) {
    const auto micro = static_cast<std::int64_t>(index);
    const std::int64_t begin = first + micro / plan.micro_steps * plan.batch +
                               dp_rank * plan.per_rank +
                               micro % plan.micro_steps * plan.micro_batch;
    std::vector<std::uint64_t> samples;
    for (std::int64_t i = 0; i < plan.micro_batch; ++i) {
      samples.push_back(order.index(begin + i));
    }
    return samples;
  };
}

Batches::Batches(const data::Samples& samples, Deal deal, at::Device device)
    : device_(device),
      prefetcher_([&samples, deal = std::move(deal)](std::uint64_t micro) {
        return samples.make(deal(micro));
      }) {}

model::Batch Batches::next() {
  const data::HostBatch batch = prefetcher_.next();
  return {place(batch.input, batch.samples, device_),
          place(batch.target, batch.samples, device_)};
}

}  // namespace mumoe::train

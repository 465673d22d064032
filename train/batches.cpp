#include "train/batches.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/error.h"

namespace mumoe::train {
namespace {

/// Rows on the CPU, as a model takes them.
at::Tensor copy_of(const data::Rows& rows, std::int64_t samples) {
  return std::visit(
      [&]<class Number>(const std::vector<Number>& values) {
        constexpr bool kWhole = std::is_same_v<Number, std::int32_t>;
        return at::from_blob(
                   const_cast<Number*>(values.data()),
                   {samples,
                    static_cast<std::int64_t>(values.size()) / samples},
                   kWhole ? at::kInt : at::kFloat)
            .to(at::kCPU,
                kWhole ? at::kLong : at::kFloat,
                /*non_blocking=*/false,
                /*copy=*/true);
      },
      rows);
}

std::span<const std::byte> bytes_of(const data::Rows& rows) {
  return std::visit(
      [](const auto& values) { return std::as_bytes(std::span(values)); },
      rows);
}

/// What `bytes_of(rows)`, which `bytes` are on a device, mean.
at::Tensor meaning_of(const at::Tensor& bytes,
                      const data::Rows& rows,
                      std::int64_t samples) {
  const bool whole = std::holds_alternative<std::vector<std::int32_t>>(rows);
  return bytes.view(whole ? at::kInt : at::kFloat)
      .view({samples, -1})
      .to(whole ? at::kLong : at::kFloat);
}

/// All of a batch in one copy from page-locked memory, for which nobody waits;
/// numbers become wider on the device.
model::Batch copy_to_gpu(const data::HostBatch& batch, at::Device device) {
  const auto input = bytes_of(batch.input), target = bytes_of(batch.target);
  const auto first = static_cast<std::int64_t>(input.size());
  const auto second = static_cast<std::int64_t>(target.size());
  const at::Tensor host =
      at::empty({first + second},
                at::TensorOptions(at::kByte).pinned_memory(true));
  auto* const to = static_cast<std::byte*>(host.data_ptr());
  std::ranges::copy(input, to);
  std::ranges::copy(target, to + first);
  const at::Tensor there = host.to(device, at::kByte, /*non_blocking=*/true);
  return {
      meaning_of(there.narrow(0, 0, first), batch.input, batch.samples),
      meaning_of(there.narrow(0, first, second), batch.target, batch.samples)};
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
  if (device_.is_cuda()) return copy_to_gpu(batch, device_);
  return {copy_of(batch.input, batch.samples),
          copy_of(batch.target, batch.samples)};
}

}  // namespace mumoe::train

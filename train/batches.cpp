#include "train/batches.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <numeric>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/error.h"
#include "data/sample_chain.h"

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

/// Numbers of samples on the CPU; undefined if there are none.
at::Tensor ids_of(const std::vector<std::uint64_t>& numbers) {
  if (numbers.empty()) return {};
  return at::from_blob(const_cast<std::uint64_t*>(numbers.data()),
                       {static_cast<std::int64_t>(numbers.size())},
                       at::kLong)
      .clone();
}

/// All of a batch in one copy from page-locked memory, for which nobody waits;
/// numbers become wider on the device.
model::Batch copy_to_gpu(const data::HostBatch& batch, at::Device device) {
  // The widest first: each begins where its type may.
  const std::array parts{std::as_bytes(std::span(batch.numbers)),
                         bytes_of(batch.input),
                         bytes_of(batch.target)};
  std::int64_t all = 0;
  for (const auto part : parts) all += static_cast<std::int64_t>(part.size());
  const at::Tensor host =
      at::empty({all}, at::TensorOptions(at::kByte).pinned_memory(true));
  auto* to = static_cast<std::byte*>(host.data_ptr());
  for (const auto part : parts) to = std::ranges::copy(part, to).out;
  const at::Tensor there = host.to(device, at::kByte, /*non_blocking=*/true);
  std::int64_t begin = 0;
  const auto take = [&](std::span<const std::byte> part) {
    const auto size = static_cast<std::int64_t>(part.size());
    begin += size;
    return there.narrow(0, begin - size, size);
  };
  const at::Tensor ids = take(parts[0]), input = take(parts[1]);
  return {meaning_of(input, batch.input, batch.samples),
          meaning_of(take(parts[2]), batch.target, batch.samples),
          batch.numbers.empty() ? at::Tensor() : ids.view(at::kLong)};
}

/// Part `part` of `count` things in `parts` parts, the longer ones first.
SampleRun cut(std::int64_t count, std::int64_t parts, std::int64_t part) {
  const std::int64_t least = count / parts, longer = count % parts;
  return {part * least + std::min(part, longer), least + (part < longer)};
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
  require(batch >= dp_size,
          "train.batch = {}: expected at least {}, a sample for each "
          "data-parallel rank",
          batch,
          dp_size);
  const std::int64_t per_rank = cut(batch, dp_size, 0).count;
  if (micro_batch == 0) micro_batch = per_rank;
  require(batch % dp_size != 0 || per_rank % micro_batch == 0,
          "train.micro_batch = {}: does not divide the {} samples of a rank "
          "(train.batch {} over {} data-parallel ranks)",
          micro_batch,
          per_rank,
          batch,
          dp_size);
  const std::int64_t micro_steps = (per_rank + micro_batch - 1) / micro_batch;
  return {batch,
          per_rank,
          cut(per_rank, micro_steps, 0).count,
          micro_steps,
          dp_size};
}

SampleRun BatchPlan::of_rank(int dp_rank) const {
  return cut(batch, ranks, dp_rank);
}

SampleRun BatchPlan::of_micro_batch(int dp_rank, std::int64_t micro) const {
  const SampleRun rank = of_rank(dp_rank);
  const SampleRun part = cut(rank.count, micro_steps, micro);
  return {rank.begin + part.begin, part.count};
}

std::int64_t BatchPlan::least_micro_batch() const {
  const auto last =
      of_micro_batch(static_cast<int>(ranks) - 1, micro_steps - 1);
  return std::max<std::int64_t>(last.count, 1);
}

Deal deal_training(const BatchPlan& plan, int dp_rank, std::int64_t first) {
  return [plan, dp_rank, first](std::uint64_t index) {
    const auto micro = static_cast<std::int64_t>(index);
    SampleRun run = plan.of_micro_batch(dp_rank, micro % plan.micro_steps);
    if (run.count == 0) run = {run.begin - 1, 1};
    const std::int64_t begin =
        first + micro / plan.micro_steps * plan.batch + run.begin;
    std::vector<std::uint64_t> numbers(static_cast<std::size_t>(run.count));
    std::iota(numbers.begin(), numbers.end(), begin);
    return numbers;
  };
}

Batches::Batches(const data::Sequence& sequence, Deal deal, at::Device device)
    : device_(device),
      prefetcher_([&sequence, deal = std::move(deal)](std::uint64_t micro) {
        return sequence.make(deal(micro));
      }) {}

Batches::Batches(const data::Samples& samples, Deal deal, at::Device device)
    : device_(device),
      prefetcher_([&samples, deal = std::move(deal)](std::uint64_t micro) {
        return samples.make(deal(micro));
      }) {}

model::Batch Batches::next() {
  const data::HostBatch batch = prefetcher_.next();
  digest_ = data::digest_of(batch.numbers, batch.indices);
  if (device_.is_cuda()) return copy_to_gpu(batch, device_);
  // Elsewhere as it is, or on the meta device, which has no values.
  const auto there = [&](const at::Tensor& values) {
    return values.defined() ? values.to(device_) : values;
  };
  return {there(copy_of(batch.input, batch.samples)),
          there(copy_of(batch.target, batch.samples)),
          there(ids_of(batch.numbers))};
}

}  // namespace mumoe::train

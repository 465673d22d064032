#include "train/scores.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "train/batches.h"

namespace mumoe::train {
namespace {

/// Σ of the losses of some targets of each row of `batch`: of those that
/// `counted` says.
template <class Counted>
std::vector<double> sums_of(const model::LanguageModel& model,
                            const model::Batch& batch,
                            const Counted& counted) {
  const at::Tensor losses_BT =
      model.token_losses(batch).to(at::kCPU, at::kDouble).contiguous();
  const double* losses = losses_BT.const_data_ptr<double>();
  std::vector<double> sums;
  for (std::int64_t row = 0; row < losses_BT.size(0); ++row) {
    const auto [first, count] = counted(static_cast<std::size_t>(row));
    // In order, so that it has the same bits each time.
    sums.push_back(
        std::accumulate(losses + first, losses + first + count, 0.0));
    losses += losses_BT.size(1);
  }
  return sums;
}

/// The place of the least of `values`, of equals the first.
std::size_t least(const std::vector<double>& values) {
  return std::ranges::min_element(values) - values.begin();
}

}  // namespace

BatchList in_batches(std::span<const std::uint64_t> samples,
                     std::int64_t per_batch) {
  MUMOE_CHECK(per_batch > 0, "batches of {} samples", per_batch);
  BatchList batches;
  while (!samples.empty()) {
    const auto batch = samples.first(
        std::min(samples.size(), static_cast<std::size_t>(per_batch)));
    batches.emplace_back(batch.begin(), batch.end());
    samples = samples.subspan(batch.size());
  }
  return batches;
}

std::vector<double> Scorer::score(const data::Samples& samples,
                                  const BatchList& batches,
                                  std::int64_t numbers,
                                  const ScoreBatch& score_batch) const {
  const std::uint64_t ranks = mesh.dp().size();
  const std::uint64_t rank = mesh.dp().rank();
  std::vector<std::int64_t> begins{0};  // of each batch's scores
  for (const auto& batch : batches) {
    begins.push_back(begins.back() +
                     static_cast<std::int64_t>(batch.size()) * numbers);
  }
  // None beyond the last, of which the thread that is ahead asks.
  const auto mine = [&](std::uint64_t micro) {
    const auto b = micro * ranks + rank;
    return b < batches.size() ? batches[b] : std::vector<std::uint64_t>{};
  };
  Batches ahead(samples, mine, device);
  // Each number is made on one dp rank and zero on the others: their sum has
  // its bits. The ranks of a tp group have the same; the first one says it.
  const at::Tensor all = at::zeros({begins.back()}, at::kDouble);
  for (std::uint64_t b = rank; b < batches.size(); b += ranks) {
    mesh.set_phase("evaluation");  // its deadline holds for one batch
    progress(static_cast<std::int64_t>(b),
             static_cast<std::int64_t>(batches.size()));
    const auto scores = score_batch(ahead.next(), batches[b]);
    MUMOE_CHECK(
        static_cast<std::int64_t>(scores.size()) == begins[b + 1] - begins[b],
        "{} scores of {} samples",
        scores.size(),
        batches[b].size());
    if (mesh.tp().rank() != 0) continue;
    std::ranges::copy(scores, all.data_ptr<double>() + begins[b]);
  }
  mesh.set_phase("evaluation");
  mesh.control().all_reduce(all);
  const double* begin = all.const_data_ptr<double>();
  return {begin, begin + all.numel()};
}

WindowScore score_windows(const Scorer& scorer,
                          const model::LanguageModel& model,
                          const data::Samples& samples,
                          std::span<const std::uint64_t> windows,
                          std::int64_t per_batch,
                          std::span<const std::int64_t> bytes_of_ids) {
  const std::int64_t length = samples.targets_per_sample();
  const at::Tensor bytes_V =
      at::tensor(at::ArrayRef(bytes_of_ids.data(), bytes_of_ids.size()),
                 at::kLong);
  const auto scores = scorer.score(
      samples,
      in_batches(windows, per_batch),
      /*numbers=*/2,
      [&](const model::Batch& batch, std::span<const std::uint64_t>) {
        const auto losses = sums_of(model, batch, [&](std::size_t) {
          return data::ChoiceRows::Ending{0, length};
        });
        const at::Tensor bytes_B =
            bytes_V.take(batch.target.to(at::kCPU)).sum(1);
        std::vector<double> numbers;
        for (std::size_t i = 0; i < losses.size(); ++i) {
          numbers.push_back(losses[i]);
          numbers.push_back(
              static_cast<double>(bytes_B.const_data_ptr<std::int64_t>()[i]));
        }
        return numbers;
      });
  WindowScore score;
  for (std::size_t i = 0; i < scores.size(); i += 2) {
    score.tokens += length;
    score.loss += scores[i];
    score.bytes += static_cast<std::int64_t>(scores[i + 1]);
  }
  score.loss /= static_cast<double>(score.tokens);
  return score;
}

ChoiceScore score_choices(const Scorer& scorer,
                          const model::LanguageModel& model,
                          const data::ChoiceRows& rows,
                          std::int64_t tokens) {
  const BatchList batches = rows.batches(tokens);
  const auto scores = scorer.score(
      rows,
      batches,
      /*numbers=*/1,
      [&](const model::Batch& batch, std::span<const std::uint64_t> indices) {
        return sums_of(model, batch, [&](std::size_t row) {
          return rows.ending(indices[row]);
        });
      });
  std::vector<double> sums(rows.size());
  auto next = scores.begin();
  for (const auto& batch : batches) {
    for (const auto row : batch) sums[row] = *next++;
  }
  ChoiceScore score;
  std::uint64_t row = 0;
  for (const data::Question& question : rows.questions()) {
    std::vector<double> whole, mean;
    for (std::size_t e = 0; e < question.endings.size(); ++e, ++row) {
      const auto count = rows.ending(row).count;
      whole.push_back(sums[row]);
      mean.push_back(sums[row] / static_cast<double>(count));
      score.tokens += count;
    }
    ++score.questions;
    score.right_by_sum += least(whole) == question.label;
    score.right_by_mean += least(mean) == question.label;
    score.loss += mean[question.label];
  }
  score.loss /= static_cast<double>(score.questions);
  return score;
}

}  // namespace mumoe::train

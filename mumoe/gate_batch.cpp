#include "mumoe/gate_batch.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "dist/communicator.h"
#include "mumoe/gate_activation.h"

// Shapes: T rows of this rank, N experts. Sums over rows are in the compute
// type on one rank and in fp64 between ranks.

namespace mumoe {
namespace {

using at::Tensor;

void all_reduce(const Tensor& tensor, dist::Communicator* group) {
  if (group != nullptr) group->all_reduce(tensor);
}

Tensor wide(const Tensor& logits_TN) {
  return logits_TN.to(compute_type(logits_TN.scalar_type()));
}

/// A tensor of its own, which later updates of the buffer do not reach.
Tensor snapshot(const Tensor& buffer_N, at::ScalarType type) {
  return buffer_N.to(type, false, true);
}

void update(const Tensor& running_N, const Tensor& batch_N, double momentum) {
  running_N.mul_(1 - momentum)
      .add_(batch_N.to(running_N.scalar_type()), momentum);
}

BatchNormalised evaluate(const Tensor& logits_TN, const BatchStatistics& s) {
  const auto type = compute_type(logits_TN.scalar_type());
  const BatchMoments moments{
      snapshot(s.running_mean, type),
      reciprocal_deviation(snapshot(s.running_var, type)),
      at::ones({1}, logits_TN.options().dtype(at::kDouble))};
  return {batch_normalise_with(logits_TN, moments), moments};
}

/// All ranks agree: a rank that could be part of a batch of one row has one or
/// none itself. The others are spared the wait for a GPU.
void require_two_rows(std::int64_t rows, const Tensor& count_1) {
  if (rows > 1) return;
  require(count_1.item<double>() > 1,
          "The gate's batch norm needs more than one token in training; the "
          "batch has {}",
          count_1.item<double>());
}

/// [Σ ℓ over all ranks, their rows], fp64 [N + 1].
Tensor global_sums(const Tensor& logits_TN, dist::Communicator* group) {
  const std::int64_t rows = logits_TN.size(0), experts = logits_TN.size(1);
  const Tensor sums =
      at::zeros({experts + 1}, logits_TN.options().dtype(at::kDouble));
  sums[experts].fill_(static_cast<double>(rows));
  if (rows > 0) {
    // Relative to the first row: the mean of equal logits is exact, and their
    // variance 0, however large they are.
    const Tensor wide_TN = wide(logits_TN);
    const Tensor& first_N = wide_TN[0];
    sums.narrow(0, 0, experts)
        .copy_((wide_TN - first_N).sum(0))
        .add_(first_N.to(at::kDouble), static_cast<double>(rows));
  }
  all_reduce(sums, group);
  return sums;
}

BatchNormalised train(const Tensor& logits_TN, const BatchStatistics& s) {
  const std::int64_t experts = logits_TN.size(1);
  const auto type = compute_type(logits_TN.scalar_type());
  const Tensor sums = global_sums(logits_TN, s.group);
  const Tensor count_1 = sums.narrow(0, experts, 1).clone();
  require_two_rows(logits_TN.size(0), count_1);
  const Tensor mean_N = (sums.narrow(0, 0, experts) / count_1).to(type);

  // The arithmetic of `batch_normalise_with`, to the bit.
  Tensor z_TN = wide(logits_TN) - mean_N;
  const Tensor squares_N = (z_TN * z_TN).sum(0).to(at::kDouble);
  all_reduce(squares_N, s.group);
  const Tensor rstd_N = reciprocal_deviation(squares_N / count_1).to(type);
  update(s.running_mean, mean_N, s.momentum);
  update(s.running_var, squares_N / (count_1 - 1), s.momentum);
  return {z_TN.mul_(rstd_N), {mean_N, rstd_N, count_1}};
}

}  // namespace

BatchNormalised batch_normalise(const Tensor& logits_TN,
                                const BatchStatistics& statistics) {
  for (const Tensor& buffer :
       {statistics.running_mean, statistics.running_var}) {
    MUMOE_CHECK(buffer.defined() && buffer.numel() == logits_TN.size(1) &&
                    !buffer.requires_grad(),
                "running statistics of {} experts",
                logits_TN.size(1));
  }
  BatchMoments* const kept = statistics.moments;
  if (kept != nullptr && kept->mean.defined()) {
    return {batch_normalise_with(logits_TN, *kept), *kept};
  }
  const BatchNormalised result = statistics.training
                                     ? train(logits_TN, statistics)
                                     : evaluate(logits_TN, statistics);
  if (kept != nullptr) *kept = result.moments;
  return result;
}

Tensor batch_normalise_with(const Tensor& logits_TN,
                            const BatchMoments& moments) {
  return (wide(logits_TN) - moments.mean).mul_(moments.rstd);
}

Tensor batch_normalise_backward(const Tensor& z_TN,
                                const Tensor& d_TN,
                                const BatchMoments& moments,
                                dist::Communicator* group,
                                bool training) {
  if (!training) return d_TN * moments.rstd;
  const Tensor sums_2N =
      at::stack({d_TN.sum(0), (d_TN * z_TN).sum(0)}).to(at::kDouble);
  all_reduce(sums_2N, group);
  const Tensor means_2N = (sums_2N / moments.count).to(z_TN.scalar_type());
  return (d_TN - means_2N[0]).sub_(z_TN * means_2N[1]).mul_(moments.rstd);
}

}  // namespace mumoe

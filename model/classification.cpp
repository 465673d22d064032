#include "model/classification.h"

#include <ATen/ATen.h>

namespace mumoe::model {

using at::Tensor;

namespace {

/// How many classes are likelier than the right one, [B]; of equal ones, those
/// before it.
Tensor places(const Tensor& logits, const Tensor& target) {
  const bool shares = at::isFloatingType(target.scalar_type());
  const Tensor right =
      shares ? target.argmax(1, /*keepdim=*/true) : target.view({-1, 1});
  const Tensor its = logits.gather(1, right);
  const Tensor before = at::arange(logits.size(1), right.options()) < right;
  return ((logits > its) | ((logits == its) & before)).sum(1);
}

}  // namespace

Tensor class_loss(const Tensor& logits,
                  const Tensor& target,
                  double smoothing) {
  const bool shares = at::isFloatingType(target.scalar_type());
  return at::cross_entropy_loss(
      logits,
      shares ? target.to(logits.scalar_type()) : target.flatten(),
      {},
      at::Reduction::Sum,
      /*ignore_index=*/-100,
      smoothing);
}

Score class_score(const Tensor& logits_BK, const Tensor& target) {
  const Tensor places_B = places(logits_BK, target);
  const Tensor sums =
      at::stack({class_loss(logits_BK, target, 0).to(at::kDouble),
                 (places_B < 1).sum().to(at::kDouble),
                 (places_B < 5).sum().to(at::kDouble)})
          .cpu();
  const auto count = [&](int i) {
    return static_cast<std::int64_t>(sums[i].item<double>());
  };
  return {.loss = sums[0].item<double>(), .top1 = count(1), .top5 = count(2)};
}

Tensor SampleParts::own(const Tensor& all) const {
  const dist::Slice rows = tp_.rows(all.size(0));
  return all.narrow(0, rows.begin, rows.count);
}

Tensor SampleParts::own_padded(const Tensor& all) const {
  if (!tp_.tokens_cut()) return all;
  const std::int64_t total = dist::rounded_up(all.size(0), tp_.size());
  const dist::Slice rows = tp_.rows(total);
  return at::constant_pad_nd(all, {0, 0, 0, total - all.size(0)})
      .narrow(0, rows.begin, rows.count);
}

Tensor SampleParts::all(const Tensor& own, std::int64_t samples) const {
  return tp_.enter(own).narrow(0, 0, samples);
}

Tensor SampleParts::sum(const Tensor& part) const {
  if (!tp_.tokens_cut()) return part;
  const Tensor sum = tp_.of_all_ranks(part.detach().reshape({1})).sum();
  // The same bits on all ranks, and each its own part's gradient.
  return (part - part.detach()) + sum;
}

Evaluation::Evaluation(std::span<MuMoEBlock* const> blocks) : blocks_(blocks) {
  for (MuMoEBlock* block : blocks_) block->set_training(false);
}

Evaluation::~Evaluation() {
  for (MuMoEBlock* block : blocks_) block->set_training(true);
}

}  // namespace mumoe::model

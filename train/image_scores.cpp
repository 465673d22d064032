// Shapes: B images, K classes.
#include "train/image_scores.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "base/error.h"

namespace mumoe::train {
namespace {

// Of each image: its class, the place of that among the logits, its loss.
constexpr std::int64_t kNumbers = 3;

std::vector<double> numbers_of(const at::Tensor& given_BK,
                               const at::Tensor& target) {
  const at::Tensor logits_BK = given_BK.to(at::kCPU, at::kDouble);
  const at::Tensor label_B1 = target.to(at::kCPU).view({-1, 1});
  const std::int64_t classes = logits_BK.size(1);
  const auto [least, most] = label_B1.aminmax();
  require(
      least.item<std::int64_t>() >= 0 && most.item<std::int64_t>() < classes,
      "an image of class {}: the model knows {} classes, from 0",
      least.item<std::int64_t>() < 0 ? least.item<std::int64_t>()
                                     : most.item<std::int64_t>(),
      classes);
  const at::Tensor own_B1 = logits_BK.gather(1, label_B1);
  const at::Tensor lower_BK = at::arange(classes, at::kLong).lt(label_B1);
  const at::Tensor place_B1 =
      logits_BK.gt(own_B1)
          .logical_or_(logits_BK.eq(own_B1).logical_and_(lower_BK))
          .sum(1, /*keepdim=*/true);
  const at::Tensor loss_B1 = logits_BK.logsumexp(1, /*keepdim=*/true) - own_B1;
  const at::Tensor all =
      at::cat({label_B1.to(at::kDouble), place_B1.to(at::kDouble), loss_B1}, 1)
          .contiguous();
  const double* begin = all.const_data_ptr<double>();
  return {begin, begin + all.numel()};
}

}  // namespace

ImageScore score_images(const Scorer& scorer,
                        const Logits& logits,
                        const data::Samples& samples,
                        std::span<const std::uint64_t> images,
                        std::int64_t per_batch,
                        std::int64_t classes) {
  const auto numbers = scorer.score(
      samples,
      in_batches(images, per_batch),
      kNumbers,
      [&](const model::Batch& batch, std::span<const std::uint64_t>) {
        const at::NoGradGuard no_grad;
        return numbers_of(logits(batch.input), batch.target);
      });
  ImageScore score;
  score.classes.resize(static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < numbers.size(); i += kNumbers) {
    auto& found = score.classes[static_cast<std::size_t>(numbers[i])];
    const double place = numbers[i + 1];
    ++score.images;
    ++found.images;
    found.right += place < 1;
    score.top1 += place < 1;
    score.top5 += place < 5;
    score.loss += numbers[i + 2];
  }
  score.loss /= static_cast<double>(score.images);
  return score;
}

}  // namespace mumoe::train

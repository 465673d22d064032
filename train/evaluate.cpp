#include "train/evaluate.h"

#include <ATen/ATen.h>

#include <vector>

#include "model/classifier.h"
#include "train/any_rank.h"
#include "train/batches.h"

namespace mumoe::train {

std::optional<Evaluation> evaluate(const model::Model& model,
                                   const data::Samples& samples,
                                   std::int64_t count,
                                   std::int64_t micro_batch,
                                   dist::ProcessMesh& mesh,
                                   at::Device device,
                                   const std::function<bool()>& stop) {
  const auto all = data::evaluation_samples(samples.size(), count);
  const std::uint64_t ranks = mesh.dp().size();
  const std::uint64_t rank = mesh.dp().rank();
  // Every `ranks`-th sample; none beyond the last, of which the thread asks.
  const Deal deal = [&](std::uint64_t micro) {
    std::vector<std::uint64_t> mine;
    for (std::int64_t i = 0; i < micro_batch; ++i) {
      const auto place = (micro * micro_batch + i) * ranks + rank;
      if (place < all.size()) mine.push_back(all[place]);
    }
    return mine;
  };
  Batches batches(samples, deal, device);
  model::Score sum;
  for (std::uint64_t done = 0; done < all.size(); done += micro_batch * ranks) {
    mesh.set_phase("evaluation");  // its deadline holds for one batch
    if (any_rank(stop(), mesh.control())) return std::nullopt;
    // The last ones may have none for this rank.
    if (done + rank >= all.size()) continue;
    const model::Score score = model.score(batches.next());
    sum.loss += score.loss;
    sum.top1 += score.top1;
    sum.top5 += score.top5;
  }
  // Every tp rank has the sum of its group's samples.
  const at::Tensor total = at::tensor({sum.loss,
                                       static_cast<double>(sum.top1),
                                       static_cast<double>(sum.top5)},
                                      at::kDouble)
                               .div_(mesh.tp().size());
  mesh.control().all_reduce(total);
  total.div_(static_cast<double>(all.size() * samples.targets_per_sample()));
  Evaluation found{.loss = total[0].item<double>()};
  if (dynamic_cast<const model::Classifier*>(&model) != nullptr) {
    found.top1 = total[1].item<double>();
    found.top5 = total[2].item<double>();
  }
  return found;
}

}  // namespace mumoe::train

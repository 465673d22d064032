#include "train/evaluate.h"

#include <ATen/ATen.h>

#include <vector>

#include "train/any_rank.h"
#include "train/batches.h"

namespace mumoe::train {

std::optional<double> evaluate(const model::Model& model,
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
  double sum = 0;
  for (std::uint64_t done = 0; done < all.size(); done += micro_batch * ranks) {
    mesh.set_phase("evaluation");  // its deadline holds for one batch
    if (any_rank(stop(), mesh.control())) return std::nullopt;
    // The last ones may have none for this rank.
    if (done + rank < all.size()) sum += model.score(batches.next()).loss;
  }
  // Every tp rank has the sum of its group's samples.
  const at::Tensor total = at::full({1}, sum / mesh.tp().size(), at::kDouble);
  mesh.control().all_reduce(total);
  return total.item<double>() /
         static_cast<double>(all.size() * samples.targets_per_sample());
}

}  // namespace mumoe::train

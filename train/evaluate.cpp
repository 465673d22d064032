#include "train/evaluate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <span>
#include <vector>

#include "data/batch.h"
#include "train/token_batches.h"

namespace mumoe::train {

double evaluate(const model::Gpt2& model,
                const data::TokenFile& file,
                std::int64_t windows,
                std::int64_t micro_batch,
                dist::ProcessMesh& mesh,
                at::Device device) {
  at::NoGradGuard no_grad;
  const std::int64_t context = model.config().context;
  const auto all = data::evaluation_windows(file, context, windows);
  std::vector<std::uint64_t> mine;
  for (std::size_t i = mesh.dp().rank(); i < all.size();
       i += mesh.dp().size()) {
    mine.push_back(all[i]);
  }
  double sum = 0;
  for (std::size_t first = 0; first < mine.size(); first += micro_batch) {
    mesh.set_phase("evaluation");  // its deadline holds for one batch
    const auto count = std::min<std::size_t>(micro_batch, mine.size() - first);
    const auto batch = data::window_batch(file,
                                          std::span(mine).subspan(first, count),
                                          context);
    sum += model.loss(to_tensor(batch, device), 1.0).item<double>();
  }
  // Every tp rank has the sum of its group's windows.
  const at::Tensor total = at::full({1}, sum / mesh.tp().size(), at::kDouble);
  mesh.control().all_reduce(total);
  return total.item<double>() / static_cast<double>(all.size() * context);
}

}  // namespace mumoe::train

// Trains one μMoE layer on inputs from four clusters, each with a linear map of
// its own, shows which experts serve which cluster, takes one of them out, and
// saves and loads what is left.
//
// Shapes: T inputs, I = 8, O = 4, K = 4 clusters, N = 16 experts.
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <cstdio>

#include "mumoe/module.h"

namespace {

constexpr std::int64_t kInputs = 8, kOutputs = 4, kClusters = 4, kExperts = 16;
constexpr int kSteps = 1500;
constexpr std::int64_t kBatch = 256;

/// y = A_k x + b_k for an x of cluster k, which lies around centre k.
class Task {
 public:
  struct Batch {
    at::Tensor cluster, x_TI, y_TO;
  };

  Batch draw(std::int64_t count) const {
    const at::Tensor cluster = at::randint(kClusters, {count}, at::kLong);
    const at::Tensor x_TI =
        centre_KI_.index({cluster}) + 0.5 * at::randn({count, kInputs});
    const at::Tensor y_TO =
        at::einsum("ti,tio->to", {x_TI, map_KIO_.index({cluster})}) +
        shift_KO_.index({cluster});
    return {cluster, x_TI, y_TO};
  }

 private:
  at::Tensor centre_KI_ = 2 * at::randn({kClusters, kInputs});
  at::Tensor map_KIO_ = at::randn({kClusters, kInputs, kOutputs});
  at::Tensor shift_KO_ = at::randn({kClusters, kOutputs});
};

/// The experts that serve a tenth or more of a cluster; returns the one
/// that serves it most.
std::int64_t print_experts(mumoe::MuMoE& layer,
                           const Task::Batch& batch,
                           std::int64_t cluster) {
  // One tensor for each level of experts; this layer has one level.
  const at::Tensor a_TN = layer->coefficients(batch.x_TI).front();
  const at::Tensor mean_N = a_TN.index({batch.cluster == cluster}).mean(0);
  const auto [share, expert] = mean_N.sort(/*dim=*/0, /*descending=*/true);
  std::printf("cluster %d is served by", static_cast<int>(cluster));
  for (int i = 0; i < kExperts && share[i].item<double>() >= 0.1; ++i) {
    std::printf("%s expert %d (%.0f %%)",
                i == 0 ? "" : ",",
                expert[i].item<int>(),
                100 * share[i].item<double>());
  }
  std::printf("\n");
  return expert[0].item<std::int64_t>();
}

}  // namespace

int main() {
  at::manual_seed(7);
  at::set_num_threads(1);  // the tensors are too small to be shared
  const Task task;
  const Task::Batch test = task.draw(4096);

  // A single layer: without an output_dim, its hidden width is what it gives.
  // Experts see the input itself, so that each is a linear map with a bias.
  mumoe::MuMoE layer({.input_dim = kInputs,
                      .hidden_dim = kOutputs,
                      .experts = {kExperts},
                      .form = mumoe::Form::cp,
                      .ranks = {48},
                      .input_layer_norm = false},
                     /*seed=*/1);
  torch::optim::Adam adam(layer->parameters(), torch::optim::AdamOptions(1e-2));

  const auto loss_of = [&](const Task::Batch& batch) {
    return at::mse_loss(layer->forward(batch.x_TI), batch.y_TO);
  };
  const double before = loss_of(test).item<double>();
  for (int step = 0; step < kSteps; ++step) {
    adam.zero_grad();
    loss_of(task.draw(kBatch)).backward();
    adam.step();
  }
  const double after = loss_of(test).item<double>();
  std::printf(
      "%d parameters; loss %.3f before, %.3f after %d steps\n",
      static_cast<int>(mumoe::MuMoEBlock::parameter_count(layer->config())),
      before,
      after,
      kSteps);

  std::int64_t most[kClusters] = {};
  for (int k = 0; k < kClusters; ++k) most[k] = print_experts(layer, test, k);

  // Without the expert that serves cluster 0 most; the edit is saved, too.
  layer->remove_expert(/*level=*/0, most[0]);
  const double without = loss_of(test).item<double>();
  layer->save("toy_regression.safetensors");
  mumoe::MuMoE loaded = mumoe::load_module("toy_regression.safetensors");
  const bool same =
      at::equal(loaded->forward(test.x_TI), layer->forward(test.x_TI));
  std::printf("loss %.3f without expert %d; loaded, the layer gives %s\n",
              without,
              static_cast<int>(most[0]),
              same ? "the same" : "something else");
  return after < before / 10 && without > after && same ? 0 : 1;
}

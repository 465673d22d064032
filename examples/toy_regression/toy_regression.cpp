// Trains one μMoE layer on inputs from four clusters, each with a linear map of
// its own, and shows which experts serve which cluster.
//
// Shapes: T inputs, I = 8, O = 4, K = 4 clusters, N = 16 experts.
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <cstdio>

#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "mumoe/block.h"

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

/// The experts that serve a tenth or more of a cluster, and which they serve.
void print_experts(const mumoe::MuMoEBlock& block, const Task::Batch& batch) {
  const at::Tensor a_TN = block.coefficients(batch.x_TI).front();
  for (std::int64_t k = 0; k < kClusters; ++k) {
    const at::Tensor mean_N = a_TN.index({batch.cluster == k}).mean(0);
    const auto [share, expert] = mean_N.sort(/*dim=*/0, /*descending=*/true);
    std::printf("cluster %d is served by", static_cast<int>(k));
    for (int i = 0; i < kExperts && share[i].item<double>() >= 0.1; ++i) {
      std::printf("%s expert %d (%.0f %%)",
                  i == 0 ? "" : ",",
                  expert[i].item<int>(),
                  100 * share[i].item<double>());
    }
    std::printf("\n");
  }
}

}  // namespace

int main() {
  at::manual_seed(7);
  at::set_num_threads(1);  // the tensors are too small to be shared
  const Task task;

  // A registry collects the parameters and buckets hold them. One process: the
  // communicator is this process alone.
  const auto self = mumoe::dist::make_self_communicator(at::kCPU);
  mumoe::dist::ParameterRegistry registry(*self, at::kFloat, at::kCPU);
  // A single layer: its "hidden" width is what it gives. Experts see the input
  // itself, so that each is a linear map of it with a bias.
  const mumoe::MuMoEBlock block({.input_dim = kInputs,
                                 .hidden_dim = kOutputs,
                                 .experts = {kExperts},
                                 .form = mumoe::Form::cp,
                                 .ranks = {48},
                                 .input_layer_norm = false},
                                "block.",
                                registry);
  mumoe::dist::FlatBuckets buckets(registry, 1 << 20);
  buckets.initialise(/*seed=*/1);

  std::vector<at::Tensor> parameters;
  for (const auto& p : registry.parameters()) parameters.push_back(p.value);
  torch::optim::Adam adam(parameters, torch::optim::AdamOptions(1e-2));

  const auto loss_of = [&](const Task::Batch& batch) {
    return at::mse_loss(block.forward(batch.x_TI), batch.y_TO);
  };
  const Task::Batch test = task.draw(4096);
  const double before = loss_of(test).item<double>();
  for (int step = 0; step < kSteps; ++step) {
    adam.zero_grad();
    loss_of(task.draw(kBatch)).backward();
    adam.step();
  }
  const double after = loss_of(test).item<double>();

  std::printf("%d parameters; loss %.3f before, %.3f after %d steps\n",
              static_cast<int>(registry.global_numel()),
              before,
              after,
              kSteps);
  print_experts(block, test);
  return after < before / 10 ? 0 : 1;
}

// gpt2_experts STATE.SAFETENSORS TEXT: which experts of each block of a GPT-2,
// trained by the default recipe (configs/gpt2_cp_small.cfg), serve the last
// byte of a text.
#include <torch/torch.h>

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "model/gpt2.h"
#include "model/weights.h"

namespace {

/// What the recipe says.
mumoe::model::ModelConfig recipe() {
  return {.depth = 4,
          .heads = 4,
          .width = 256,
          .context = 256,
          .vocab = 256,
          .mlp = {.hidden_dim = 1024, .experts = {64}, .ranks = {199}}};
}

/// Coefficients a [tokens, N] of each block for a text, front to back.
std::vector<at::Tensor> coefficients(const mumoe::model::Gpt2& model,
                                     const at::Tensor& tokens) {
  const at::NoGradGuard no_grad;
  const auto blocks = model.mixtures();
  std::vector<at::Tensor> a(blocks.size());
  for (std::size_t l = 0; l < a.size(); ++l) {
    blocks[l]->watch([&a, l](const std::vector<at::Tensor>& levels) {
      a[l] = levels.front();
    });
  }
  model.next_logits(tokens);
  for (const auto* block : blocks) block->watch({});
  return a;
}

void look(const std::string& file, const std::string& text) {
  const auto self = mumoe::dist::make_self_communicator(at::kCPU);
  mumoe::dist::ParameterRegistry registry(*self, at::kFloat, at::kCPU);
  const mumoe::model::Gpt2 model(recipe(), registry);
  mumoe::dist::FlatBuckets buckets(registry, /*bucket_bytes=*/1 << 20);
  mumoe::model::load_weights(file, buckets);

  std::vector<std::int64_t> ids;
  for (const unsigned char byte : text) ids.push_back(byte);
  const auto a = coefficients(model, torch::tensor(ids).unsqueeze(0));
  for (std::size_t l = 0; l < a.size(); ++l) {
    const auto [share, expert] = a[l][-1].sort(/*dim=*/0, /*descending=*/true);
    const auto most = expert[0].item<std::int64_t>();
    const auto matrix = model.mixtures()[l]->materialize(0, {most}).matrix;
    std::printf("block %d: expert %d (%.0f %%) of norm %.1f, %d others\n",
                static_cast<int>(l),
                static_cast<int>(most),
                100 * share[0].item<double>(),
                matrix.norm().item<double>(),
                static_cast<int>((share > 0).sum().item<std::int64_t>()) - 1);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3 || !*argv[2]) throw std::invalid_argument("expected FILE TEXT");
  look(argv[1], argv[2]);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "gpt2_experts: %s\n", error.what());
  return 2;
}

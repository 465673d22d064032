// Ten AdamW steps of small GPT-2s against the reference (tests/golden): losses,
// gradient norms, the first step's gradients and the final weights.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>

#include "base/error.h"
#include "dist/params/gradient_norm.h"
#include "dist/params/gradient_reducer.h"
#include "dist/self_communicator.h"
#include "model/gpt2.h"
#include "run/import_weights.h"
#include "run/nanogpt_weights.h"
#include "tests/support/golden_files.h"
#include "tests/support/gpu.h"
#include "tests/support/parameters.h"
#include "tests/support/scratch.h"
#include "tests/support/thread_communicator.h"
#include "tests/support/tokens.h"
#include "train/optimizer.h"

namespace mumoe {
namespace {

/// Relative: of losses, of the first gradient, of later gradients' norms and
/// of the weights at the end.
struct Tolerance {
  double loss;
  double gradient;
  double later_norm;
  double final_weights;
};

/// The tensors called `prefix`NAME, by NAME.
NamedTensors part(const NamedTensors& file, const std::string& prefix) {
  NamedTensors found;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(prefix)) {
      found.tensors[name.substr(prefix.size())] = tensor;
    }
  }
  return found;
}

/// As the factors have them; a ring's metadata names its last rank alone.
std::vector<std::int64_t> ranks_of(const NamedTensors& file,
                                   std::size_t levels) {
  if (file.metadata.at("layer") == "dense") return {};
  const auto factor = [&](std::size_t k) {
    return file.at(
        fmt::format("init.transformer.h.0.mlp.MuMoE_layer.MuMoE.factors.{}",
                    k));
  };
  if (file.metadata.at("layer") == "cp") return {factor(0).size(1)};
  std::vector<std::int64_t> ranks;
  for (std::size_t k = 0; k <= levels; ++k) ranks.push_back(factor(k).size(0));
  ranks.push_back(factor(levels).size(2));
  return ranks;
}

model::ModelConfig config_of(const NamedTensors& file) {
  const auto number = [&](const char* key) {
    return std::stoll(file.metadata.at(key));
  };
  model::ModelConfig config;
  config.depth = number("n_layer");
  config.heads = number("n_head");
  config.width = number("n_embd");
  config.context = number("block_size");
  config.vocab = number("vocab_size");
  config.mlp.hidden_dim = 4 * config.width;
  config.set_mlp(file.metadata.at("layer"));
  config.mlp.experts = testing::golden_numbers(file.metadata.at("experts"));
  config.mlp.ranks = ranks_of(file, config.mlp.experts.size());
  return config;
}

run::OptimizerConfig optimizer_of(const NamedTensors& file) {
  const auto number = [&](const char* key) {
    return std::stod(file.metadata.at(key));
  };
  return {.beta1 = number("beta1"),
          .beta2 = number("beta2"),
          .eps = number("eps"),
          .weight_decay = number("weight_decay"),
          .clip = number("clip")};
}

void expect_near(const NamedTensors& found,
                 const NamedTensors& expected,
                 double tolerance,
                 const char* what) {
  ASSERT_FALSE(expected.tensors.empty());
  for (const auto& [name, tensor] : expected.tensors) {
    if (name == "lm_head.weight") continue;  // tied
    EXPECT_LT(testing::relative_error(found.at(name), tensor), tolerance)
        << what << " " << name;
  }
}

/// How a model is laid over the ranks of `world`.
struct Layout {
  dist::Communicator& world;
  int tp = 1;
  Plan plan = Plan::bottleneck;
  int zero = 0;
  at::Device device = at::kCPU;
  /// Moves tensors of a GPU.
  dist::Communicator* data = nullptr;
};

/// The model of a file, at its first weights.
struct Training {
  Training(const NamedTensors& file, at::ScalarType dtype, const Layout& layout)
      : mesh(layout.world, 0, layout.tp, layout.data),
        registry(mesh.tp(), dtype, layout.device),
        sharding{layout.plan, &mesh.tp()},
        gpt2(config_of(file), registry, sharding),
        buckets(registry,
                mesh,
                {.bytes = 1 << 16,
                 .zero = layout.zero,
                 .whole_is_partial = sharding.region().tokens_cut()}),
        optimizer(optimizer_of(file), buckets),
        reducer(buckets) {
    testing::set_weights(buckets,
                         run::from_nanogpt(registry, part(file, "init.")));
  }

  /// The mean loss of `tokens` [B, T + 1], of which each dp rank takes its
  /// part; leaves its gradient in the buckets.
  double loss(const at::Tensor& tokens) {
    const double targets =
        static_cast<double>(tokens.size(0) * (tokens.size(1) - 1));
    const auto part =
        dist::slice_of(tokens.size(0), mesh.dp().rank(), mesh.dp().size());
    const at::Tensor loss = gpt2.loss(
        testing::next_token_batch(
            tokens.narrow(0, part.begin, part.count).to(registry.device())),
        1.0 / targets);
    reducer.begin(true);
    loss.backward();
    reducer.finish();
    const at::Tensor sum = loss.detach().to(at::kDouble).clone();
    mesh.dp().all_reduce(sum);
    return sum.item<double>();
  }
  double norm() { return dist::gradient_norm(buckets, mesh); }
  NamedTensors tensors(at::Tensor dist::Bucket::*flat) const {
    return testing::whole_tensors(buckets, flat);
  }

  dist::ProcessMesh mesh;
  dist::ParameterRegistry registry;
  Sharding sharding;
  model::Gpt2 gpt2;
  dist::FlatBuckets buckets;
  train::AdamW optimizer;
  dist::GradientReducer reducer;
};

double of_step(const NamedTensors& file, const char* name, std::int64_t step) {
  return file.at(name).flatten()[step].item<double>();
}

/// Ten steps in the arithmetic of `dtype`.
void run(const NamedTensors& file,
         at::ScalarType dtype,
         const Tolerance& tolerance,
         const Layout& layout) {
  Training training(file, dtype, layout);
  const at::Tensor& tokens = file.at("tokens");
  for (std::int64_t step = 0; step < tokens.size(0); ++step) {
    SCOPED_TRACE(fmt::format("step {}", step));
    const double loss = training.loss(tokens[step]);
    const double norm = training.norm();
    EXPECT_NEAR(loss / of_step(file, "loss", step), 1, tolerance.loss);
    EXPECT_NEAR(norm / of_step(file, "grad_norm", step),
                1,
                step == 0 ? tolerance.gradient : tolerance.later_norm);
    if (step == 0) {
      expect_near(run::to_nanogpt(training.registry,
                                  training.tensors(&dist::Bucket::grad)),
                  part(file, "grad0."),
                  tolerance.gradient,
                  "gradient of");
    }
    training.optimizer.step(of_step(file, "lr", step),
                            train::clip_factor(norm, optimizer_of(file).clip));
  }
  expect_near(run::to_nanogpt(training.registry,
                              training.tensors(&dist::Bucket::master)),
              part(file, "final."),
              tolerance.final_weights,
              "final");
}

/// The fp32 loss and gradient at the weights that fp64 has at each step.
void run_beside_fp64(const NamedTensors& file, const Layout& layout) {
  Training wide(file, at::kDouble, layout), narrow(file, at::kFloat, layout);
  const at::Tensor& tokens = file.at("tokens");
  for (std::int64_t step = 0; step < tokens.size(0); ++step) {
    SCOPED_TRACE(fmt::format("step {}", step));
    testing::set_weights(narrow.buckets, wide.tensors(&dist::Bucket::master));
    wide.loss(tokens[step]);
    EXPECT_NEAR(narrow.loss(tokens[step]) / of_step(file, "loss", step),
                1,
                2e-5);
    EXPECT_NEAR(narrow.norm() / of_step(file, "grad_norm", step), 1, 1e-4);
    expect_near(narrow.tensors(&dist::Bucket::grad),
                wide.tensors(&dist::Bucket::grad),
                1e-4,
                "gradient of");
    wide.optimizer.step(
        of_step(file, "lr", step),
        train::clip_factor(wide.norm(), optimizer_of(file).clip));
  }
}

TEST(Gpt2Golden, DenseCpAndRingModelsFollowTheReference) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto data = dist::make_self_communicator(testing::test_device());
  const Layout alone{.world = *self,
                     .device = testing::test_device(),
                     .data = data.get()};
  for (const auto& path : testing::golden_files("gpt2_")) {
    const NamedTensors file = read_safetensors(path);
    SCOPED_TRACE(path.filename().string());
    {
      SCOPED_TRACE("fp64");
      run(file, at::kDouble, {1e-9, 1e-9, 1e-9, 1e-9}, alone);
    }
    {
      SCOPED_TRACE("fp32 beside fp64");
      run_beside_fp64(file, alone);
    }
    {
      SCOPED_TRACE("fp32");
      // AdamW divides by the root of a tiny second moment: rounding of a
      // gradient near zero becomes a whole step of lr. Ten steps of 1e-3 over
      // weights of 0.02 bound it; the losses are what is promised. A ring
      // amplifies it most: the reference itself, in PyTorch's fp32 with 1e-8 of
      // noise on its first weights, gives norms that are off by up to 6e-4
      // after eight steps.
      const bool ring = file.metadata.at("layer") == "tr";
      run(file, at::kFloat, {2e-5, 1e-4, ring ? 3e-3 : 1e-4, 1e-2}, alone);
    }
  }
}

#ifndef MUMOE_TEST_ON_GPU

TEST(Gpt2Golden, FilesWithTheAuthorsNamesGiveTheirTenLosses) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const testing::ScratchFolder folder;
  for (const auto& path : testing::golden_files("gpt2_")) {
    SCOPED_TRACE(path.filename().string());
    const NamedTensors file = read_safetensors(path);
    NamedTensors init = part(file, "init.");
    init.metadata["n_head"] = file.metadata.at("n_head");
    const auto weights = folder.path() / path.filename();
    write_safetensors(weights, init);
    Training training(file, at::kDouble, {*self});
    training.buckets.initialise(1);  // all others than theirs
    run::import_weights(run::open_weights(weights), training.buckets);
    const at::Tensor& tokens = file.at("tokens");
    for (std::int64_t step = 0; step < tokens.size(0); ++step) {
      const double loss = training.loss(tokens[step]);
      EXPECT_NEAR(loss / of_step(file, "loss", step), 1, 1e-9) << step;
      training.optimizer.step(
          of_step(file, "lr", step),
          train::clip_factor(training.norm(), optimizer_of(file).clip));
    }
  }
}

TEST(Gpt2Golden, CutModelsFollowTheReference) {
  for (const auto& path : testing::golden_files("gpt2_")) {
    const NamedTensors file = read_safetensors(path);
    for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
      for (const int ranks : {2, 4}) {  // 1 x 2 and 2 x 2
        SCOPED_TRACE(fmt::format("{}, {}, {} x 2",
                                 path.filename().string(),
                                 to_string(plan),
                                 ranks / 2));
        dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
          run(file,
              at::kDouble,
              {1e-9, 1e-9, 1e-9, 1e-9},
              {world, 2, plan, /*zero=*/ranks / 4});
        });
      }
    }
  }
}

#endif

}  // namespace
}  // namespace mumoe

// Ten AdamW steps of small MLP-Mixers against the reference (tests/golden):
// losses, gradient norms, the first step's gradients, final weights and running
// statistics, and the logits of an evaluation.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "dist/params/gradient_norm.h"
#include "dist/params/gradient_reducer.h"
#include "dist/self_communicator.h"
#include "model/mixer.h"
#include "tests/support/golden_files.h"
#include "tests/support/gpu.h"
#include "tests/support/mixer_names.h"
#include "tests/support/parameters.h"
#include "tests/support/thread_communicator.h"
#include "train/optimizer.h"

namespace mumoe {
namespace {

/// Relative: of losses and of the logits, of the first gradient, of later
/// gradients' norms and of the weights at the end.
struct Tolerance {
  double loss;
  double gradient;
  double later_norm;
  double final_weights;
};
constexpr Tolerance kExact = {1e-9, 1e-9, 1e-9, 1e-9};

model::ModelConfig config_of(const NamedTensors& file) {
  const auto number = [&](const char* key) {
    return std::stoll(file.metadata.at(key));
  };
  model::ModelConfig c;
  c.depth = number("depth");
  c.width = number("dim");
  c.patch = number("patch_size");
  c.image_size = number("image_size");
  c.channels = number("channels");
  c.classes = number("classes");
  c.token_hidden = number("token_hidden");
  c.mlp.hidden_dim = number("channel_hidden");
  c.bias = true;
  c.set_mlp(file.metadata.at("layer"));
  c.mlp.experts = testing::golden_numbers(file.metadata.at("experts"));
  c.mlp.gate.norm = GateNorm::batch;
  if (c.dense) return c;
  const auto ranks = [&](const std::string& block) {
    const auto factor = [&](int j) {
      return file.at(fmt::format("init.{}.MuMoE.factors.{}", block, j));
    };
    if (c.mlp.form == Form::cp) return std::vector{factor(0).size(1)};
    return std::vector{factor(0).size(0), factor(1).size(0), factor(2).size(0)};
  };
  c.token_ranks = ranks("token.0.fn.fn");
  c.mlp.ranks = ranks("channel.0.fn");
  return c;
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
        registry(mesh.tp(), dtype, layout.device, /*decay_all=*/true),
        sharding{layout.plan, &mesh.tp()},
        mixer(config_of(file),
              registry,
              sharding,
              sharding.region().tokens_cut() ? &mesh.dp_tp() : &mesh.dp()),
        buckets(registry,
                mesh,
                {.bytes = 1 << 16,
                 .zero = layout.zero,
                 .whole_is_partial = sharding.region().tokens_cut()}),
        optimizer(optimizer_of(file), buckets),
        reducer(buckets) {
    NamedTensors first;
    for (const auto& p : registry.parameters()) {
      first.tensors[p.name] = testing::mixer_reference(file, "init.", p);
    }
    testing::set_weights(buckets, first);
  }

  /// The mean loss of a step's images, of which each dp rank takes its part;
  /// leaves its gradient in the buckets.
  double loss(const NamedTensors& file, std::int64_t step) {
    const at::Tensor images = file.at("images")[step].flatten(1);
    const at::Tensor labels = file.at("labels")[step].unsqueeze(1);
    const auto part =
        dist::slice_of(images.size(0), mesh.dp().rank(), mesh.dp().size());
    const auto mine = [&](const at::Tensor& all) {
      return all.narrow(0, part.begin, part.count).to(registry.device());
    };
    const at::Tensor loss =
        mixer.loss({mine(images), mine(labels)},
                   1.0 / static_cast<double>(images.size(0)));
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
  model::Mixer mixer;
  dist::FlatBuckets buckets;
  train::AdamW optimizer;
  dist::GradientReducer reducer;
};

double of_step(const NamedTensors& file, const char* name, std::int64_t step) {
  return file.at(name).flatten()[step].item<double>();
}

template <class Tensors>
double norm_of(const Tensors& tensors) {
  double squares = 0;
  for (const auto& [name, tensor] : tensors) {
    squares += tensor.square().sum().template item<double>();
  }
  return std::sqrt(squares);
}

/// ‖a − b‖ relative to ‖b‖, or to ‖all‖ where b is zero but for rounding: the
/// gradient of a bias that mixed tokens get, which the norms take out again.
double error_of(const at::Tensor& found,
                const at::Tensor& expected,
                double all) {
  const double norm = expected.norm().item<double>();
  const auto difference =
      found.to(at::kCPU, at::kDouble) - expected.to(at::kCPU, at::kDouble);
  return difference.norm().item<double>() / (norm > 1e-12 * all ? norm : all);
}

/// Those that `file` has under `prefix`; `trained`: of parameters alone.
void expect_near(const Training& training,
                 at::Tensor dist::Bucket::*flat,
                 const NamedTensors& file,
                 const std::string& prefix,
                 bool trained,
                 double tolerance) {
  const NamedTensors found = training.tensors(flat);
  std::map<std::string, at::Tensor> expected;
  for (const auto& p : training.registry.parameters()) {
    if (trained && !p.trained) continue;
    expected[p.name] = testing::mixer_reference(file, prefix, p);
  }
  const double all = norm_of(expected);
  for (const auto& [name, tensor] : expected) {
    EXPECT_LT(error_of(found.at(name), tensor, all), tolerance)
        << prefix << " " << name;
  }
}

void run(const NamedTensors& file,
         at::ScalarType dtype,
         const Tolerance& tolerance,
         const Layout& layout) {
  Training training(file, dtype, layout);
  const std::int64_t steps = file.at("images").size(0);
  for (std::int64_t step = 0; step < steps; ++step) {
    SCOPED_TRACE(fmt::format("step {}", step));
    const double loss = training.loss(file, step);
    const double norm = training.norm();
    EXPECT_NEAR(loss / of_step(file, "loss", step), 1, tolerance.loss);
    EXPECT_NEAR(norm / of_step(file, "grad_norm", step),
                1,
                step == 0 ? tolerance.gradient : tolerance.later_norm);
    if (step == 0) {
      expect_near(training,
                  &dist::Bucket::grad,
                  file,
                  "grad0.",
                  /*trained=*/true,
                  tolerance.gradient);
    }
    training.optimizer.step(of_step(file, "lr", step),
                            train::clip_factor(norm, optimizer_of(file).clip));
  }
  expect_near(training,
              &dist::Bucket::master,
              file,
              "final.",
              /*trained=*/false,
              tolerance.final_weights);
  const at::Tensor images =
      file.at("images")[0].flatten(1).to(training.registry.device());
  EXPECT_LT(testing::relative_error(training.mixer.logits(images).cpu(),
                                    file.at("eval_logits")),
            tolerance.final_weights);
}

/// The fp32 loss and gradient at the weights that fp64 has at each step.
void run_beside_fp64(const NamedTensors& file, const Layout& layout) {
  Training wide(file, at::kDouble, layout), narrow(file, at::kFloat, layout);
  for (std::int64_t step = 0; step < file.at("images").size(0); ++step) {
    SCOPED_TRACE(fmt::format("step {}", step));
    testing::set_weights(narrow.buckets, wide.tensors(&dist::Bucket::master));
    wide.loss(file, step);
    EXPECT_NEAR(narrow.loss(file, step) / of_step(file, "loss", step), 1, 2e-5);
    EXPECT_NEAR(narrow.norm() / of_step(file, "grad_norm", step), 1, 1e-4);
    const auto expected = wide.tensors(&dist::Bucket::grad);
    const auto found = narrow.tensors(&dist::Bucket::grad);
    const double all = norm_of(expected.tensors);
    for (const auto& [name, gradient] : expected.tensors) {
      EXPECT_LT(error_of(found.at(name), gradient, all), 1e-4)
          << "gradient of " << name;
    }
    wide.optimizer.step(
        of_step(file, "lr", step),
        train::clip_factor(wide.norm(), optimizer_of(file).clip));
  }
}

TEST(MixerGolden, DenseCpAndRingModelsFollowTheReference) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto data = dist::make_self_communicator(testing::test_device());
  const Layout alone{.world = *self,
                     .device = testing::test_device(),
                     .data = data.get()};
  for (const auto& path : testing::golden_files("mixer_")) {
    const NamedTensors file = read_safetensors(path);
    SCOPED_TRACE(path.filename().string());
    {
      SCOPED_TRACE("fp64");
      run(file, at::kDouble, kExact, alone);
    }
    {
      SCOPED_TRACE("fp32 beside fp64");
      run_beside_fp64(file, alone);
    }
    {
      SCOPED_TRACE("fp32");
      // As of GPT-2: AdamW makes whole steps of rounding near zero.
      run(file, at::kFloat, {2e-5, 1e-4, 3e-3, 1e-2}, alone);
    }
  }
}

#ifndef MUMOE_TEST_ON_GPU

void expect_reference(int ranks, int tp, Plan plan) {
  for (const auto& path : testing::golden_files("mixer_")) {
    const NamedTensors file = read_safetensors(path);
    SCOPED_TRACE(fmt::format("{}, {}, {} x {}",
                             path.filename().string(),
                             to_string(plan),
                             ranks / tp,
                             tp));
    if (plan == Plan::rank && file.metadata.at("layer") == "dense") continue;
    dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
      const Layout layout{world, tp, plan, /*zero=*/ranks / 4};
      run(file, at::kDouble, kExact, layout);
      run_beside_fp64(file, layout);
    });
  }
}

// Batch norms see the images of all ranks.
TEST(MixerGolden, SplitBatchesFollowTheReference) {
  for (const int dp : {2, 4}) expect_reference(dp, 1, Plan::bottleneck);
}

TEST(MixerGolden, CutModelsFollowTheReference) {
  for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
    for (const int ranks : {2, 4}) expect_reference(ranks, 2, plan);
  }
}

#endif

}  // namespace
}  // namespace mumoe

// Needs a GPU (label gpu): embedding, head and whole models there against the
// CPU, values and gradients.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "dist/self_communicator.h"
#include "model/cross_entropy.h"
#include "model/embedding.h"
#include "tests/support/gpu.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_mixer.h"
#include "tests/support/small_vit.h"

namespace mumoe::model {
namespace {

using testing::gpu;
using testing::relative_error;
using Tensors = std::vector<at::Tensor>;

/// `t`'s values as a leaf on `device`.
at::Tensor leaf(const at::Tensor& t, at::Device device, at::ScalarType dtype) {
  return t.to(device, dtype).detach().clone().requires_grad_(true);
}

/// What `run(device, dtype)` gives there is what it gives on the CPU in fp64;
/// in bf16 hardly less near to it than the CPU comes.
template <class Run>
void expect_cpu_values(const Run& run) {
  const Tensors exact = run(at::Device(at::kCPU), at::kDouble);
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const Tensors cpu = run(at::Device(at::kCPU), dtype);
    const Tensors found = run(gpu(), dtype);
    for (std::size_t i = 0; i < exact.size(); ++i) {
      EXPECT_EQ(found[i].device(), gpu());
      EXPECT_EQ(found[i].scalar_type(), cpu[i].scalar_type());
      const double bound = dtype == at::kDouble ? 1e-11
                           : dtype == at::kFloat
                               ? 1e-5
                               : 1.5 * relative_error(cpu[i], exact[i]);
      EXPECT_LE(relative_error(found[i].to(at::kCPU), exact[i]), bound)
          << dtype << " " << i;
    }
  }
}

TEST(ModelGpu, EmbeddingOfCommonTokens) {
  at::manual_seed(1);
  const at::Tensor w = at::randn({29, 24}), dy = at::randn({5000, 24});
  const at::Tensor ids = at::arange(5000, at::kLong) * 7 % 29 % 5;
  expect_cpu_values([&](at::Device device, at::ScalarType dtype) {
    const at::Tensor weight = leaf(w, device, dtype);
    const at::Tensor y = embed(weight, ids.to(device));
    y.backward(dy.to(device, dtype));
    return Tensors{y, weight.grad()};
  });
}

TEST(ModelGpu, LossOfTheHead) {
  at::manual_seed(2);
  // The second vocabulary makes several chunks.
  for (const std::int64_t vocab : {53, 1 << 18}) {
    const at::Tensor h = at::randn({70, 8}), w = 0.3 * at::randn({vocab, 8});
    const at::Tensor targets = at::arange(70, at::kLong) * 7919 % vocab;
    expect_cpu_values([&](at::Device device, at::ScalarType dtype) {
      const at::Tensor hidden = leaf(h, device, dtype);
      const at::Tensor weight = leaf(w, device, dtype);
      const at::Tensor loss =
          linear_cross_entropy(hidden, weight, targets.to(device), 1.0 / 70);
      loss.backward();
      return Tensors{loss, hidden.grad(), weight.grad()};
    });
  }
}

/// Loss and gradients there are those of the CPU.
void expect_same_on_gpu(const model::ModelConfig& config) {
  const auto here = dist::make_self_communicator(at::kCPU);
  const auto there = dist::make_self_communicator(gpu());
  const at::Tensor tokens =
      testing::random_tokens(3, config.context + 1, config.vocab);
  const at::Tensor ids = at::arange(3, at::kLong) + 40;
  const auto make = [&](at::ScalarType dtype, at::Device device) {
    return std::make_unique<testing::ShardedModel>(
        config,
        Plan::sequence,
        device.is_cuda() ? *there : *here,
        dtype,
        device);
  };
  const auto exact = make(at::kDouble, at::kCPU);
  const double loss = exact->run(tokens, ids);
  const auto error_of = [&](testing::ShardedModel& model) {
    double sum = std::abs(model.run(tokens, ids) / loss - 1);
    double squares = 0, all = 0;
    for (const auto& [name, right] : exact->gradients) {
      const auto found = model.gradients.at(name).to(at::kCPU, at::kDouble);
      squares += (found - right).square().sum().item<double>();
      all += right.square().sum().item<double>();
    }
    return sum + std::sqrt(squares / all);
  };
  EXPECT_LT(error_of(*make(at::kDouble, gpu())), 1e-10);
  EXPECT_LT(error_of(*make(at::kFloat, gpu())), 1e-5);
  const double cpu = error_of(*make(at::kBFloat16, at::kCPU));
  EXPECT_LT(error_of(*make(at::kBFloat16, gpu())), 1.5 * cpu);
}

// Of models of every kind: recomputed, sparse, with two levels, without biases.
TEST(ModelGpu, LossAndGradientsOfWholeModels) {
  for (const testing::ShardedCase& c : testing::sharded_cases()) {
    SCOPED_TRACE(c.name);
    expect_same_on_gpu(c.config);
  }
}

// The same elements are dropped there, in backward and in a second forward too.
TEST(ModelGpu, WholeModelsThatDropOrAreComputedAgain) {
  for (testing::ShardedCase& c : testing::sharded_cases()) {
    if (c.name != "dense" && c.name != "cp_7_two_levels") continue;
    c.config.dropout = 0.2;
    for (const auto recompute : {Recompute::none, Recompute::everything}) {
      SCOPED_TRACE(fmt::format("{}, {}", c.name, static_cast<int>(recompute)));
      c.config.recompute = recompute;
      expect_same_on_gpu(c.config);
    }
  }
}

/// Of all tensors together.
double error_of_all(const NamedTensors& found, const NamedTensors& expected) {
  double squares = 0, all = 0;
  for (const auto& [name, right] : expected.tensors) {
    const at::Tensor there = found.at(name).to(at::kCPU, at::kDouble);
    squares += (there - right).square().sum().item<double>();
    all += right.square().sum().item<double>();
  }
  return std::sqrt(squares / all);
}

/// The same of models of images, and their statistics and logits.
template <class OnMesh, class Case>
void expect_same_of_images(Case c) {
  SCOPED_TRACE(c.name);
  const auto here = dist::make_self_communicator(at::kCPU);
  const auto there = dist::make_self_communicator(gpu());
  c.config.stochastic_depth = 0.3;
  c.config.label_smoothing = 0.1;
  const Batch batch = testing::made_up_batch(c.config, 9);
  const auto make = [&](at::ScalarType dtype, at::Device device) {
    return std::make_unique<OnMesh>(c.config,
                                    *here,
                                    1,
                                    Plan::sequence,
                                    dtype,
                                    device,
                                    device.is_cuda() ? there.get() : nullptr);
  };
  const auto exact = make(at::kDouble, at::kCPU);
  const double loss = exact->loss(batch);
  const NamedTensors gradients = exact->tensors(&dist::Bucket::grad);
  const auto statistics = exact->tensors(&dist::Bucket::master);
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    const double bound = dtype == at::kDouble ? 1e-10 : 1e-4;
    const auto found = make(dtype, gpu());
    EXPECT_NEAR(found->loss(batch) / loss, 1, bound);
    const NamedTensors theirs = found->tensors(&dist::Bucket::grad);
    // A batch norm of few rows makes more of rounding, on a CPU as well.
    const auto same = make(dtype, at::kCPU);
    same->loss(batch);
    const double cpu =
        error_of_all(same->tensors(&dist::Bucket::grad), gradients);
    EXPECT_LT(error_of_all(theirs, gradients), std::max(bound, 1.5 * cpu));
    const auto kept = found->tensors(&dist::Bucket::master);
    for (const auto& [name, right] : statistics.tensors) {
      EXPECT_LT(relative_error(kept.at(name).to(at::kCPU), right), bound)
          << name;
    }
    EXPECT_LT(
        relative_error(found->model.logits(batch.input.to(gpu())).to(at::kCPU),
                       exact->model.logits(batch.input)),
        10 * bound);
  }
}

// Of every form in both mixings, by batch norms; blocks that samples leave out.
TEST(ModelGpu, Mixers) {
  for (const auto& c : testing::mixer_cases()) {
    expect_same_of_images<testing::MixerOnMesh>(c);
  }
}

// With both kinds of norms' epsilon, that of the fused ones and another.
TEST(ModelGpu, Vits) {
  for (const auto& c : testing::vit_cases()) {
    expect_same_of_images<testing::VitOnMesh>(c);
  }
}

}  // namespace
}  // namespace mumoe::model

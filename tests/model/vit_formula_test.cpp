// The ViT's formula written out, and its gradients.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "dist/self_communicator.h"
#include "tests/support/small_vit.h"

namespace mumoe::model {
namespace {

using at::Tensor;
using testing::made_up_batch;
using testing::small_clip;
using testing::small_vit;
using testing::VitOnMesh;

using Weights = std::map<std::string, Tensor>;

Tensor norm(const Tensor& x,
            const Weights& w,
            const std::string& name,
            double e) {
  const Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  const Tensor variance = centred.square().mean(-1, /*keepdim=*/true);
  Tensor y = centred / (variance + e).sqrt() * w.at(name + ".weight");
  const auto bias = w.find(name + ".bias");
  return bias == w.end() ? y : y + bias->second;
}

Tensor affine(const Tensor& x,
              const Tensor& weight,
              const Weights& w,
              const std::string& bias) {
  const Tensor y = at::matmul(x, weight.t());
  const auto found = w.find(bias);
  return found == w.end() ? y : y + found->second.flatten();
}

/// Softmax over all tokens, head by head.
Tensor attention(const Tensor& z,
                 const Weights& w,
                 const std::string& p,
                 std::int64_t heads) {
  const std::int64_t width = z.size(2), d = width / heads;
  const Tensor qkv =
      affine(z, w.at(p + "qkv").reshape({3 * width, width}), w, p + "qkv_bias");
  std::vector<Tensor> each;
  for (std::int64_t h = 0; h < heads; ++h) {
    const auto part = [&](std::int64_t which) {
      return qkv.narrow(2, which * width + h * d, d);
    };
    const Tensor scores = at::matmul(part(0), part(1).transpose(1, 2)) /
                          std::sqrt(static_cast<double>(d));
    each.push_back(at::matmul(scores.softmax(-1), part(2)));
  }
  return affine(at::cat(each, 2),
                w.at(p + "proj").reshape({width, width}),
                w,
                p + "proj_bias");
}

Tensor gelu(const Tensor& x, Gelu kind) {
  if (kind == Gelu::quick) return x * (1.702 * x).sigmoid();
  return 0.5 * x * (1 + (x / std::sqrt(2.0)).erf());
}

/// Of a layer of experts, by softmax gates without norm: Σ_n a_n (W_n z + b_n).
Tensor experts(const Tensor& z,
               const Tensor& a,
               const Weights& w,
               const std::string& p) {
  const Tensor input =
      at::matmul(z, w.at(p + "input")) + w.at(p + "input_bias");
  return at::matmul(at::matmul(a, w.at(p + "expert.0")) * input,
                    w.at(p + "output").t());
}

Tensor mlp(const Tensor& z,
           const Weights& w,
           const std::string& p,
           const ModelConfig& c) {
  if (!c.dense) {
    const Tensor a = at::matmul(z, w.at(p + "gate.0")).softmax(-1);
    const Tensor h = gelu(experts(z, a, w, p + "layer1."), Gelu::exact);
    return experts(h, a, w, p + "layer2.");
  }
  const Tensor h = gelu(affine(z, w.at(p + "fc"), w, p + "fc_bias"), c.gelu);
  return affine(h, w.at(p + "proj"), w, p + "proj_bias");
}

/// The logits of images, by a convolution and LibTorch's plain operations.
Tensor formula(const ModelConfig& c, const Weights& w, const Tensor& images) {
  const std::int64_t samples = images.size(0), p = c.patch;
  const Tensor kernel = w.at("stem.weight")
                            .view({c.width, p, p, c.channels})
                            .permute({0, 3, 1, 2});
  Tensor x =
      at::conv2d(images.view({samples, c.channels, c.image_size, c.image_size}),
                 kernel,
                 {},
                 p)
          .flatten(2)
          .transpose(1, 2);
  if (w.contains("stem.bias")) x = x + w.at("stem.bias");
  x = at::cat({w.at("class_token").expand({samples, 1, c.width}), x}, 1) +
      w.at("positions");
  if (c.norm_pre) x = norm(x, w, "norm_pre", c.norm_epsilon);
  for (std::int64_t l = 0; l < c.depth; ++l) {
    const std::string block = fmt::format("blocks.{}.", l);
    x = x + attention(norm(x, w, block + "norm1", c.norm_epsilon),
                      w,
                      block + "attn.",
                      c.heads);
    x = x +
        mlp(norm(x, w, block + "norm2", c.norm_epsilon), w, block + "mlp.", c);
  }
  const Tensor h = norm(x, w, "norm", c.norm_epsilon).select(1, 0);
  if (c.head != HeadKind::mixture)
    return affine(h, w.at("head.weight"), w, "head.bias");
  const Tensor a = at::matmul(h, w.at("head.gate.0")).softmax(-1);
  return experts(h, a, w, "head.layer1.");
}

TEST(Vit, IsItsFormulaAndSoAreItsGradients) {
  auto mixture = small_vit("cp"), head = small_clip();
  head.set_head("cp");
  head.mlp.ranks = {5};
  for (ModelConfig* c : {&mixture, &head}) {
    c->mlp.gate = {.activation = GateActivation::softmax,
                   .norm = GateNorm::none};
  }
  const auto self = dist::make_self_communicator(at::kCPU);
  for (const ModelConfig& config : {small_vit(), small_clip(), mixture, head}) {
    VitOnMesh on(config, *self);
    SCOPED_TRACE(on.model.describe());
    Weights weights;
    for (const auto& [name, value] :
         on.tensors(&dist::Bucket::master).tensors) {
      weights[name] = value.detach().clone().set_requires_grad(true);
    }
    const Batch batch = made_up_batch(config, 5);
    const Tensor logits = formula(config, weights, batch.input);
    EXPECT_LT(testing::relative_error(on.model.logits(batch.input), logits),
              1e-12);
    const Tensor loss = at::cross_entropy_loss(logits, batch.target.flatten());
    EXPECT_NEAR(on.loss(batch) / loss.item<double>(), 1, 1e-12);
    loss.backward();
    const NamedTensors found = on.tensors(&dist::Bucket::grad);
    ASSERT_EQ(found.tensors.size(), weights.size());
    for (const auto& [name, weight] : weights) {
      // Key biases have none: softmax takes them out.
      EXPECT_LT((found.at(name) - weight.grad()).norm().item<double>(),
                1e-11 * std::max(1e-3, weight.grad().norm().item<double>()))
          << name;
    }
  }
}

}  // namespace
}  // namespace mumoe::model

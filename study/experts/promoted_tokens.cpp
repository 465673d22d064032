#include "study/experts/promoted_tokens.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "mumoe/mixture.h"

namespace mumoe::study {
namespace {

at::Tensor parameter(const dist::ParameterRegistry& registry,
                     std::string_view name) {
  for (const dist::Parameter& p : registry.parameters()) {
    if (p.name == name) {
      return registry.gather(p, p.value.detach()).to(at::kFloat);
    }
  }
  fail<InternalError>("a model without {}", name);
}

/// The factors of a block's layers in `type`.
std::vector<Factors> factors_in(const MuMoEBlock& block, at::ScalarType type) {
  std::vector<Factors> layers = block.layers();
  for (Factors& layer : layers) {
    layer.each([&](at::Tensor& factor) {
      if (factor.defined()) factor = factor.detach().to(type);
    });
  }
  return layers;
}

}  // namespace

Unembedding unembedding_of(const dist::ParameterRegistry& registry) {
  const at::NoGradGuard no_grad;
  return {parameter(registry, "wte"), parameter(registry, "ln_f.weight")};
}

at::Tensor mean_parts(const MuMoEBlock& block,
                      std::size_t level,
                      std::span<const ExpertExamples> examples,
                      const GateSurroundings& surroundings) {
  const at::NoGradGuard no_grad;
  const auto type = surroundings.input.scalar_type();
  const at::Device device = block.layers().front().output.device();
  const at::Tensor x = surroundings.input.to(device);
  const auto layers = factors_in(block, type);
  InputNorm norm = surroundings.norm;
  if (norm.weight.defined()) norm.weight = norm.weight.detach().to(type);
  if (norm.bias.defined()) norm.bias = norm.bias.detach().to(type);
  const auto mixed = [&](const std::vector<at::Tensor>& a) {
    return mixture(a,
                   x,
                   norm,
                   layers,
                   {.gemm = block.config().gemm,
                    .mixing = Mixing::dense,
                    .sharding = block.config().sharding});
  };
  std::vector<at::Tensor> a;
  for (const at::Tensor& one : surroundings.coefficients) {
    a.push_back(one.to(device));
  }
  const at::Tensor whole = mixed(a);
  const auto experts = static_cast<std::int64_t>(examples.size());
  const std::int64_t each = x.size(0) / experts;
  at::Tensor without = a[level].clone();
  // Row n · each + i is of expert n.
  at::diagonal(without.view({experts, each, experts}), 0, 0, 2).zero_();
  a[level] = without;
  const at::Tensor parts =
      (whole - mixed(a)).to(at::kFloat).view({experts, each, -1});
  const at::Tensor counts = at::empty({experts, 1}, at::kFloat);
  const at::Tensor there = at::zeros({experts, each, 1}, at::kFloat);
  for (std::int64_t n = 0; n < experts; ++n) {
    const auto count = static_cast<std::int64_t>(
        examples[static_cast<std::size_t>(n)].top.size());
    counts[n].fill_(std::max<std::int64_t>(count, 1));
    there[n].narrow(0, 0, count).fill_(1);
  }
  return (parts * there.to(device)).sum(1).div(counts.to(device));
}

std::vector<std::vector<PromotedToken>> promoted_tokens(
    const MuMoEBlock& block,
    std::size_t level,
    std::span<const ExpertExamples> examples,
    const GateSurroundings& surroundings,
    const Unembedding& unembedding,
    std::int64_t vocabulary,
    std::int64_t count) {
  const at::NoGradGuard no_grad;
  const at::Tensor d_NC = mean_parts(block, level, examples, surroundings);
  const at::Tensor seen_NC =
      (d_NC - d_NC.mean(1, /*keepdim=*/true)) * unembedding.norm;
  const at::Tensor logits_NV =
      seen_NC.mm(unembedding.head.narrow(0, 0, vocabulary).t())
          .to(at::kCPU, at::kDouble);
  const std::int64_t most = std::min(count, vocabulary);
  const auto [values, ids] = logits_NV.topk(most, 1);
  std::vector<std::vector<PromotedToken>> promoted(examples.size());
  for (std::size_t n = 0; n < examples.size(); ++n) {
    if (examples[n].top.empty()) continue;
    const auto row = static_cast<std::int64_t>(n);
    for (std::int64_t k = 0; k < most; ++k) {
      promoted[n].push_back(
          {ids[row][k].item<std::int64_t>(), values[row][k].item<double>()});
    }
  }
  return promoted;
}

}  // namespace mumoe::study

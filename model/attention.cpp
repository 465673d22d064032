// Shapes: B samples, T tokens, N = B T, C width, H heads of this rank, D = C /
// heads.
#include "model/attention.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "base/error.h"

namespace mumoe::model {

using dist::Initializer;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

/// q, k and v [B, H, T, D] of qkv [N, 3 H D]. Their gradients are written next
/// to each other, as the product before takes them, in one pass.
struct SplitHeads : torch::autograd::Function<SplitHeads> {
  static variable_list forward(AutogradContext* /*context*/,
                               const at::Tensor& qkv,
                               std::int64_t samples,
                               std::int64_t heads) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    return qkv.view({samples, qkv.size(0) / samples, 3, heads, -1})
        .permute({2, 0, 3, 1, 4})
        .unbind(0);
  }

  static variable_list backward(AutogradContext* /*context*/,
                                const variable_list& grads) {
    std::vector<at::Tensor> parts;
    for (const at::Tensor& d_BHTD : grads) {
      parts.push_back(d_BHTD.transpose(1, 2));
    }
    const at::Tensor d = at::stack(parts, 2);  // [B, T, 3, H, D]
    return {d.view({d.size(0) * d.size(1), -1}), {}, {}};
  }
};

}  // namespace

Attention::Attention(std::int64_t width,
                     std::int64_t heads,
                     std::int64_t depth,
                     bool bias,
                     const std::string& prefix,
                     dist::ParameterRegistry& registry,
                     GemmLibrary gemm,
                     const dist::TensorParallel& tp)
    : gemm_(gemm), tp_(tp) {
  MUMOE_CHECK(heads % tp.size() == 0, "{} heads on {} ranks", heads, tp.size());
  const std::int64_t head_dim = width / heads;
  const auto add = [&](const std::string& name,
                       std::vector<std::int64_t> shape,
                       dist::Placement placement,
                       bool decay,
                       Initializer init) {
    return registry.add({.name = prefix + name,
                         .global_shape = std::move(shape),
                         .placement = placement,
                         .decay = decay,
                         .init = init});
  };
  const auto by_head = dist::Placement::cut(1);
  const double residual = 0.02 / std::sqrt(2.0 * static_cast<double>(depth));
  qkv_ = add("qkv",
             {3, heads, head_dim, width},
             by_head,
             true,
             Initializer::normal(0, 0.02));
  if (bias) {
    qkv_bias_ = add("qkv_bias",
                    {3, heads, head_dim},
                    by_head,
                    false,
                    Initializer::constant(0));
  }
  proj_ = add("proj",
              {width, heads, head_dim},
              by_head,
              true,
              Initializer::normal(0, residual));
  if (bias) {
    proj_bias_ = add("proj_bias", {width}, {}, false, Initializer::constant(0));
  }
}

at::Tensor Attention::forward(const at::Tensor& x, std::int64_t samples) const {
  const at::Tensor x_NC = tp_.enter(x);
  const auto heads = qkv_.size(1), head_dim = qkv_.size(2);
  const auto tokens = x_NC.size(0) / samples;
  const at::Tensor qkv =
      mumoe::linear(x_NC,
                    qkv_,
                    qkv_bias_.defined() ? qkv_bias_.flatten() : qkv_bias_,
                    gemm_);
  const auto parts = SplitHeads::apply(qkv, samples, heads);
  const at::Tensor y_BHTD =
      at::scaled_dot_product_attention(parts[0],
                                       parts[1],
                                       parts[2],
                                       {},
                                       /*dropout_p=*/0.0,
                                       /*is_causal=*/true);
  const at::Tensor y = tp_.leave(mumoe::linear(
      y_BHTD.transpose(1, 2).reshape({samples * tokens, heads * head_dim}),
      proj_,
      {},
      gemm_));
  return proj_bias_.defined() ? y + proj_bias_ : y;
}

PassCost Attention::cost(std::int64_t samples, std::int64_t length) const {
  const auto n = static_cast<double>(samples * length);
  const auto width = static_cast<double>(qkv_.size(3));
  const auto heads = static_cast<double>(qkv_.size(1));
  const double here = heads * static_cast<double>(qkv_.size(2));
  const auto element = static_cast<double>(qkv_.element_size());
  const auto statistic = static_cast<double>(
      c10::elementSize(dist::master_dtype(qkv_.scalar_type())));
  // Four products with weights; QKᵀ and its product with V of half a square.
  const double macs = here * (4 * width + static_cast<double>(length));
  return {.flops = 6 * n * macs * tp_.size(),
          .rank_flops = 6 * n * macs,
          .tp_bytes = tp_.exchanged(n * width * element),
          .tp_operations = tp_.exchanges(),
          // x, q, k, v, y, and the log-sum-exp of each head's rows
          .kept_bytes = n * ((width + 4 * here) * element + heads * statistic)};
}

}  // namespace mumoe::model

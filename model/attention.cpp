// Shapes: B samples, T tokens, C width, H heads, D = C / H.
#include "model/attention.h"

#include <ATen/ATen.h>

#include <cmath>

namespace mumoe::model {

using dist::Initializer;

Attention::Attention(std::int64_t width,
                     std::int64_t heads,
                     std::int64_t depth,
                     bool bias,
                     const std::string& prefix,
                     dist::ParameterRegistry& registry,
                     GemmLibrary gemm)
    : gemm_(gemm) {
  const std::int64_t head_dim = width / heads;
  const auto add = [&](const std::string& name,
                       std::vector<std::int64_t> shape,
                       bool decay,
                       Initializer init) {
    return registry.add({.name = prefix + name,
                         .global_shape = std::move(shape),
                         .placement = {},
                         .decay = decay,
                         .init = init});
  };
  const double residual = 0.02 / std::sqrt(2.0 * static_cast<double>(depth));
  qkv_ = add("qkv",
             {3, heads, head_dim, width},
             true,
             Initializer::normal(0, 0.02));
  if (bias) {
    qkv_bias_ =
        add("qkv_bias", {3, heads, head_dim}, false, Initializer::constant(0));
  }
  proj_ = add("proj",
              {width, heads, head_dim},
              true,
              Initializer::normal(0, residual));
  if (bias) {
    proj_bias_ = add("proj_bias", {width}, false, Initializer::constant(0));
  }
}

at::Tensor Attention::forward(const at::Tensor& x_BTC) const {
  const auto batch = x_BTC.size(0), tokens = x_BTC.size(1);
  const auto heads = qkv_.size(1), head_dim = qkv_.size(2);
  const at::Tensor qkv =
      mumoe::linear(x_BTC,
                    qkv_.flatten(0, 2),
                    qkv_bias_.defined() ? qkv_bias_.flatten() : qkv_bias_,
                    gemm_);
  const auto parts = qkv.view({batch, tokens, 3, heads, head_dim})
                         .permute({2, 0, 3, 1, 4})
                         .unbind(0);
  const at::Tensor y_BHTD =
      at::scaled_dot_product_attention(parts[0],
                                       parts[1],
                                       parts[2],
                                       {},
                                       /*dropout_p=*/0.0,
                                       /*is_causal=*/true);
  return mumoe::linear(
      y_BHTD.transpose(1, 2).reshape({batch, tokens, heads * head_dim}),
      proj_.flatten(1, 2),
      proj_bias_,
      gemm_);
}

}  // namespace mumoe::model

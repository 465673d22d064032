// Shapes: B samples, T tokens, N = B T, C width, H heads of this rank, D = C /
// heads.
#include "model/attention.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>
#include <optional>

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

/// Fused attention of q, k and v [B, H, T, D]. Of the meta device LibTorch
/// would form all scores: there the operator is named that does not.
at::Tensor fused_attention(const std::vector<at::Tensor>& qkv, Sees sees) {
  const at::Tensor &q = qkv[0], &k = qkv[1], &v = qkv[2];
  const bool causal = sees == Sees::earlier;
  if (q.is_meta()) {
    return std::get<0>(
        at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal));
  }
  return at::scaled_dot_product_attention(q,
                                          k,
                                          v,
                                          {},
                                          /*dropout_p=*/0.0,
                                          causal);
}

}  // namespace

Attention::Attention(std::int64_t width,
                     std::int64_t heads,
                     std::int64_t depth,
                     bool bias,
                     const std::string& prefix,
                     dist::ParameterRegistry& registry,
                     GemmLibrary gemm,
                     const dist::TensorParallel& tp,
                     Sees sees)
    : heads_(heads), gemm_(gemm), tp_(tp), sees_(sees) {
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

at::Tensor Attention::project(const at::Tensor& x) const {
  return mumoe::linear(x,
                       qkv_,
                       qkv_bias_.defined() ? qkv_bias_.flatten() : qkv_bias_,
                       gemm_);
}

at::Tensor Attention::close(const at::Tensor& y) const {
  const at::Tensor sum = tp_.leave(mumoe::linear(y, proj_, {}, gemm_));
  return proj_bias_.defined() ? sum + proj_bias_ : sum;
}

at::Tensor Attention::attend(const std::vector<at::Tensor>& qkv_BHTD,
                             const Dropout& drop,
                             std::size_t layer) const {
  const at::Tensor& q = qkv_BHTD[0];
  const std::int64_t length = q.size(2);
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(3)));
  at::Tensor scores = at::matmul(q * scale, qkv_BHTD[1].transpose(2, 3))
                          .to(dist::master_dtype(q.scalar_type()));
  if (sees_ == Sees::earlier) {
    const at::Tensor later =
        at::ones({length, length}, q.options().dtype(at::kBool)).triu_(1);
    scores =
        scores.masked_fill(later, -std::numeric_limits<double>::infinity());
  }
  const at::Tensor probabilities = at::softmax(scores, -1);
  const at::Tensor left =
      drop.of_probabilities(probabilities, layer, tp_.part(heads_).begin);
  return at::matmul(left.to(q.scalar_type()), qkv_BHTD[2]);
}

at::Tensor Attention::forward(const at::Tensor& x,
                              std::int64_t samples,
                              const Dropout& drop,
                              std::size_t layer) const {
  const at::Tensor x_NC = tp_.enter(x);
  const auto parts = SplitHeads::apply(project(x_NC), samples, heads());
  const at::Tensor y_BHTD =
      drop.drops() ? attend(parts, drop, layer) : fused_attention(parts, sees_);
  return close(y_BHTD.transpose(1, 2).reshape({x_NC.size(0), -1}));
}

at::Tensor Attention::forward(const at::Tensor& x,
                              KeyValueCache& cache,
                              std::size_t layer,
                              const KeyValueCache::Places& places) const {
  const at::Tensor x_NC = tp_.enter(x);
  const std::int64_t rows = cache.samples() * places.tokens;
  const at::Tensor qkv_BT3HD =
      project(x_NC)
          .narrow(0, 0, rows)
          .view({cache.samples(), places.tokens, 3, heads(), -1});
  const auto [keys, values] =
      cache.put(layer, places, qkv_BT3HD.select(2, 1), qkv_BT3HD.select(2, 2));
  const std::optional<at::Tensor> mask =
      places.mask.defined() ? std::optional(places.mask) : std::nullopt;
  const at::Tensor y_BHTD = at::scaled_dot_product_attention(
      qkv_BT3HD.select(2, 0).transpose(1, 2),
      keys,
      values,
      mask,
      /*dropout_p=*/0.0,
      /*is_causal=*/!mask && places.tokens > 1);
  const at::Tensor y = y_BHTD.transpose(1, 2).reshape({rows, -1});
  return close(at::constant_pad_nd(y, {0, 0, 0, x_NC.size(0) - rows}));
}

PassCost Attention::cost(std::int64_t samples,
                         std::int64_t length,
                         bool drops) const {
  const auto n = static_cast<double>(samples * length);
  const auto width = static_cast<double>(qkv_.size(3));
  const auto heads = static_cast<double>(qkv_.size(1));
  const double here = heads * static_cast<double>(qkv_.size(2));
  const auto element = static_cast<double>(qkv_.element_size());
  const auto statistic = static_cast<double>(
      c10::elementSize(dist::master_dtype(qkv_.scalar_type())));
  // Four products with weights; QKᵀ and its product with V, of half a square
  // where tokens see the earlier ones.
  const double squares = sees_ == Sees::earlier ? 1 : 2;
  const double macs =
      here * (4 * width + squares * static_cast<double>(length));
  // x, q, k, v, y, and the log-sum-exp of each head's rows
  double kept = n * ((width + 4 * here) * element + heads * statistic);
  if (drops) {
    // x, q scaled, k, v, y, the mask; probabilities before and after, and of
    // which rows. A head alone needs no copies of k and v: all of qkv stays.
    const auto t = static_cast<double>(length);
    const double wide = heads == 1 ? 5 : 4;
    const double later = sees_ == Sees::earlier ? t * t : 0;
    kept = n * (width + wide * here) * element + later +
           n * heads * (t * (element + statistic) + sizeof(std::int64_t));
  }
  return {.flops = 6 * n * macs * tp_.size(),
          .rank_flops = 6 * n * macs,
          .tp_bytes = tp_.exchanged(n * width * element),
          .tp_operations = tp_.exchanges(),
          .kept_bytes = kept};
}

}  // namespace mumoe::model

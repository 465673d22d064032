#include "model/dense_mlp.h"

#include <ATen/ATen.h>

#include <cmath>

#include "mumoe/gelu.h"

namespace mumoe::model {

using dist::Initializer;

DenseMlp::DenseMlp(std::int64_t width,
                   std::int64_t hidden,
                   std::int64_t depth,
                   bool bias,
                   const std::string& prefix,
                   dist::ParameterRegistry& registry,
                   GemmLibrary gemm,
                   const dist::TensorParallel& tp)
    : gemm_(gemm), tp_(tp) {
  const auto vector = [&](const std::string& name,
                          std::int64_t size,
                          double value,
                          bool is_norm,
                          dist::Placement placement) {
    return registry.add({.name = prefix + name,
                         .global_shape = {size},
                         .placement = placement,
                         .decay = false,
                         .init = Initializer::constant(value),
                         .full_precision = is_norm});
  };
  const auto matrix = [&](const std::string& name,
                          std::int64_t rows,
                          std::int64_t columns,
                          double deviation,
                          dist::Placement placement) {
    return registry.add({.name = prefix + name,
                         .global_shape = {rows, columns},
                         .placement = placement,
                         .decay = true,
                         .init = Initializer::normal(0, deviation)});
  };
  using dist::Placement;
  norm_weight_ = vector("ln.weight", width, 1, true, {});
  if (bias) norm_bias_ = vector("ln.bias", width, 0, true, {});
  fc_ = matrix("fc", hidden, width, 0.02, Placement::cut(0));
  if (bias) fc_bias_ = vector("fc_bias", hidden, 0, false, Placement::cut(0));
  proj_ = matrix("proj",
                 width,
                 hidden,
                 0.02 / std::sqrt(2.0 * static_cast<double>(depth)),
                 Placement::cut(1));
  if (bias) proj_bias_ = vector("proj_bias", width, 0, false, {});
}

at::Tensor DenseMlp::forward(const at::Tensor& x) const {
  const at::Tensor z =
      tp_.enter(at::layer_norm(x, {x.size(-1)}, norm_weight_, norm_bias_)
                    .to(fc_.scalar_type()));
  const at::Tensor h = mumoe::gelu(mumoe::linear(z, fc_, fc_bias_, gemm_));
  const at::Tensor y = tp_.leave(mumoe::linear(h, proj_, {}, gemm_));
  return proj_bias_.defined() ? y + proj_bias_ : y;
}

}  // namespace mumoe::model

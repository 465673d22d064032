#include "mumoe/cp.h"

#include <ATen/ATen.h>

namespace mumoe {

kernels::CombineShape cp_combination(const LayerShape& shape) {
  kernels::CombineShape c;
  c.kind = kernels::Combination::hadamard;
  c.levels = static_cast<int>(shape.experts.size());
  for (int e = 0; e < c.levels; ++e) {
    c.experts[e] = shape.experts[e];
    c.mixed[e] = shape.ranks[0];
  }
  c.columns = shape.ranks[0];
  return c;
}

at::Tensor cp_matrix(const std::vector<at::Tensor>& rows,
                     const at::Tensor& input,
                     const at::Tensor& output) {
  at::Tensor scaled = input;
  for (const auto& row : rows) scaled = scaled * row;
  return at::mm(scaled, output.t());
}

}  // namespace mumoe

#include "mumoe/tr.h"

#include <ATen/ATen.h>

namespace mumoe {

kernels::CombineShape tr_combination(const LayerShape& shape) {
  kernels::CombineShape c;
  c.kind = kernels::Combination::ring;
  c.levels = static_cast<int>(shape.experts.size());
  for (int e = 0; e < c.levels; ++e) {
    c.experts[e] = shape.experts[e];
    c.mixed[e] = shape.ranks[e] * shape.ranks[e + 1];
  }
  for (int e = 0; e <= c.levels; ++e) c.ranks[e] = shape.ranks[e];
  c.rows = shape.ranks[0];
  c.inner = shape.ranks[c.levels];
  c.columns = shape.ranks[c.levels + 1];
  return c;
}

at::Tensor tr_matrix(const std::vector<at::Tensor>& rows,
                     const at::Tensor& input,
                     const at::Tensor& output) {
  at::Tensor chain = rows[0];
  for (std::size_t e = 1; e < rows.size(); ++e) chain = at::mm(chain, rows[e]);
  const at::Tensor c = at::matmul(chain, input);  // [I, r_1, r_{E+2}]
  return at::mm(c.flatten(1), output.flatten(1).t());
}

}  // namespace mumoe

#include "mumoe/tucker.h"

#include <ATen/ATen.h>

namespace mumoe {

kernels::CombineShape tucker_combination(const LayerShape& shape) {
  kernels::CombineShape c;
  c.kind = kernels::Combination::kronecker;
  c.levels = static_cast<int>(shape.experts.size());
  c.rows = 1;
  c.inner = 1;
  for (int e = 0; e < c.levels; ++e) {
    c.experts[e] = shape.experts[e];
    c.mixed[e] = shape.ranks[e];
    c.inner *= shape.ranks[e];
  }
  c.columns = shape.ranks[c.levels + 1];
  return c;
}

at::Tensor tucker_core_matrix(const at::Tensor& core) {
  const std::int64_t ri = core.size(-2);
  return core.movedim(-2, 0).reshape({ri, core.numel() / ri});
}

at::Tensor tucker_matrix(const std::vector<at::Tensor>& rows,
                         const at::Tensor& input,
                         const at::Tensor& core,
                         const at::Tensor& output) {
  at::Tensor z = core;  // contracted level by level down to [RI, RO]
  for (const auto& row : rows) {
    auto rest = z.sizes().vec();
    rest.erase(rest.begin());
    z = at::matmul(row, z.flatten(1)).view(rest);
  }
  return at::mm(at::mm(input, z), output.t());
}

}  // namespace mumoe

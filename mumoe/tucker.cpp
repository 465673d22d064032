// TuckerμMoE (in the first version of the authors' code):
//   W = Z ×_1 U_1 ⋯ ×_E U_E ×_I U_I ×_O U_O,   Z [RN_1, …, RN_E, RI, RO]
//   y = U_O c,   c = (m_1 ⊗ … ⊗ m_E) Q,   Q = Z ×_I (U_Iᵀ z + b),
//   m_e = U_eᵀ a_e
// The core meets z first: that is one product over all tokens, and leaves per
// token a matrix Q [ΠRN_e, RO].
#include <ATen/ATen.h>

#include <algorithm>

#include "mumoe/form.h"

namespace mumoe {
namespace {

std::vector<FactorSpec> factors(std::size_t levels) {
  std::vector<FactorSpec> specs;
  FactorSpec core{Role::core, {}};
  for (std::size_t e = 0; e < levels; ++e) {
    specs.push_back({Role::expert, {Dim::experts(e), Dim::rank(e)}, e});
    core.dims.push_back(Dim::rank(e));
  }
  const Dim input = Dim::rank(levels), output = Dim::rank(levels + 1);
  core.dims.insert(core.dims.end(), {input, output});
  specs.push_back({Role::input, {Dim::inputs(), input}});
  specs.push_back(core);
  specs.push_back({Role::output, {Dim::outputs(), output}});
  return specs;
}

void combination(const LayerShape& s, kernels::CombineShape& c) {
  c.kind = kernels::Combination::kronecker;
  for (int e = 0; e < c.levels; ++e) c.inner *= s.ranks[e];
  c.columns = s.ranks.back();
}

at::Tensor expert_matrix(const ExpertFactors& u) {
  at::Tensor z = u.core;  // contracted level by level down to [RI, RO]
  for (const auto& row : u.rows) {
    const auto rest = z.sizes().slice(1).vec();
    z = at::matmul(row, z.flatten(1)).view(rest);
  }
  return at::mm(at::mm(u.input, z), u.output.t());
}

/// min(N_e, m): the core has at most 16 slices.
std::vector<std::int64_t> inner_ranks(
    const std::vector<std::int64_t>& experts) {
  constexpr std::int64_t kMost[] = {16, 4, 2, 2};
  const std::size_t levels = std::min<std::size_t>(experts.size(), 4);
  std::vector<std::int64_t> ranks;
  for (const std::int64_t n : experts) {
    ranks.push_back(std::min(n, kMost[levels - 1]));
  }
  return ranks;
}

constexpr FormDefinition kTucker{
    .name = "tucker",
    .rank_names = "RN_1, ..., RN_E, RI, RO",
    .factors = factors,
    .combination = combination,
    .expert_matrix = expert_matrix,
    .matrix_rank =
        [](const std::vector<std::int64_t>& r) {
          return std::min(r.end()[-2], r.back());
        },
    .inner_ranks = inner_ranks,
    .free_ranks = 2,
};

}  // namespace

constinit const Form Form::tucker{kTucker};

}  // namespace mumoe

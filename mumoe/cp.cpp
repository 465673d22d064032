// CPμMoE (arXiv 2402.12550, Eq. 2):
//   W[n_1, …, n_E, i, o] = Σ_r U_1[n_1, r] ⋯ U_E[n_E, r] · U_I[i, r] · U_O[o,
//   r] y = U_O c,   c = m_1 ∘ … ∘ m_E ∘ q,   m_e = U_eᵀ a_e,   q = U_Iᵀ z + b
// (Appendix B). Each weight is used once a token, and no other order of the
// sums is cheaper at a realistic size.
#include <ATen/ATen.h>

#include "mumoe/form.h"

namespace mumoe {
namespace {

constexpr FormDefinition kCp{
    .name = "cp",
    .rank_names = "R",
    .factors =
        [](std::size_t levels) {
          std::vector<FactorSpec> specs;
          for (std::size_t e = 0; e < levels; ++e) {
            specs.push_back({Role::expert, {Dim::experts(e), Dim::rank(0)}, e});
          }
          specs.push_back({Role::input, {Dim::inputs(), Dim::rank(0)}});
          specs.push_back({Role::output, {Dim::outputs(), Dim::rank(0)}});
          return specs;
        },
    .combination =
        [](const LayerShape& s, kernels::CombineShape& c) {
          c.kind = kernels::Combination::hadamard;
          c.columns = s.ranks[0];
        },
    .expert_matrix =
        [](const ExpertFactors& u) {
          at::Tensor scaled = u.input;
          for (const auto& row : u.rows) scaled = scaled * row;
          return at::mm(scaled, u.output.t());
        },
    .matrix_rank = [](const std::vector<std::int64_t>& r) { return r[0]; },
    .inner_ranks =
        [](const std::vector<std::int64_t>&) {
          return std::vector<std::int64_t>();
        },
};

}  // namespace

constinit const Form Form::cp{kCp};

}  // namespace mumoe

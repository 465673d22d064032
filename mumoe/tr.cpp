// TRμMoE (arXiv 2402.12550, Eq. 3), E levels in a ring of ranks r_1 … r_{E+2}:
//   W[n_1, …, n_E, i, o] = tr(U_1[n_1] ⋯ U_E[n_E] U_I[i] U_O[o]ᵀ)
//   y_o = Σ C ∘ U_O[o],   C = M_1 ⋯ M_E Q,
//   M_e = Σ_n a_e[n] U_e[n],   Q = Σ_i z_i U_I[i] + B
// The small matrices are multiplied first. A tensor train is the case r_1 = 1.
#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "mumoe/form.h"

namespace mumoe {
namespace {

/// Of the small matrices of experts, unless given.
constexpr std::int64_t kRank = 4;

std::vector<FactorSpec> factors(std::size_t levels) {
  std::vector<FactorSpec> specs;
  for (std::size_t e = 0; e < levels; ++e) {
    specs.push_back(
        {Role::expert, {Dim::experts(e), Dim::rank(e), Dim::rank(e + 1)}, e});
  }
  const Dim last = Dim::rank(levels + 1);
  specs.push_back({Role::input, {Dim::inputs(), Dim::rank(levels), last}});
  specs.push_back({Role::output, {Dim::outputs(), Dim::rank(0), last}});
  return specs;
}

void combination(const LayerShape& s, kernels::CombineShape& c) {
  c.kind = kernels::Combination::ring;
  std::copy(s.ranks.begin(), s.ranks.end() - 1, c.ranks);
  c.rows = s.ranks[0];
  c.inner = s.ranks[c.levels];
  c.columns = s.ranks.back();
}

at::Tensor expert_matrix(const ExpertFactors& u) {
  at::Tensor chain = u.rows[0];
  for (std::size_t e = 1; e < u.rows.size(); ++e) {
    chain = at::mm(chain, u.rows[e]);
  }
  const at::Tensor c = at::matmul(chain, u.input);  // [I, r_1, r_{E+2}]
  return at::mm(c.flatten(1), u.output.flatten(1).t());
}

constexpr FormDefinition kRing{
    .name = "tr",
    .rank_names = "r_1, ..., r_{E+2}",
    .factors = factors,
    .combination = combination,
    .expert_matrix = expert_matrix,
    .matrix_rank =
        [](const std::vector<std::int64_t>& r) {
          return checked_product(
              {r.back(), *std::min_element(r.begin(), r.end() - 1)});
        },
    .inner_ranks =
        [](const std::vector<std::int64_t>& experts) {
          return std::vector<std::int64_t>(experts.size() + 1, kRank);
        },
};

constexpr FormDefinition kTrain = [] {
  FormDefinition train = kRing;
  train.name = "tt";
  train.inner_ranks = [](const std::vector<std::int64_t>& experts) {
    auto ranks = kRing.inner_ranks(experts);
    ranks[0] = 1;
    return ranks;
  };
  train.first_rank = 1;
  return train;
}();

}  // namespace

constinit const Form Form::tensor_ring{kRing};
constinit const Form Form::tensor_train{kTrain};

}  // namespace mumoe

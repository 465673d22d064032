// A form that is not among the table's: all there is to it is its definition,
// and the counts, the placements and the node follow.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "mumoe/mixture.h"
#include "tests/mumoe/random_layers.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using testing::numbers;
using testing::relative_error;

/// CP with a core between input and experts: W_n = U_I Z diag(row_n) U_Oᵀ.
constexpr FormDefinition kCored{
    .name = "cored",
    .rank_names = "S, R",
    .factors =
        [](std::size_t levels) {
          const Dim s = Dim::rank(0), r = Dim::rank(1);
          std::vector<FactorSpec> specs;
          for (std::size_t e = 0; e < levels; ++e) {
            specs.push_back({Role::expert, {Dim::experts(e), r}, e});
          }
          specs.push_back({Role::input, {Dim::inputs(), s}});
          specs.push_back({Role::core, {s, r}});
          specs.push_back({Role::output, {Dim::outputs(), r}});
          return specs;
        },
    .combination =
        [](const LayerShape& s, kernels::CombineShape& c) {
          c.kind = kernels::Combination::hadamard;
          c.columns = s.ranks[1];
        },
    .expert_matrix =
        [](const ExpertFactors& u) {
          at::Tensor scaled = at::mm(u.input, u.core);
          for (const auto& row : u.rows) scaled = scaled * row;
          return at::mm(scaled, u.output.t());
        },
    .matrix_rank =
        [](const std::vector<std::int64_t>& r) { return std::min(r[0], r[1]); },
    .inner_ranks =
        [](const std::vector<std::int64_t>&) {
          return std::vector<std::int64_t>{};
        },
    .free_ranks = 2,
};

const LayerShape kShape{.form = Form(kCored),
                        .inputs = 7,
                        .outputs = 9,
                        .experts = {5, 4},
                        .ranks = {6, 8}};

TEST(NewForm, CountsAndPlacementsFollowFromItsFactors) {
  kShape.validate();
  EXPECT_EQ(rank_count(kShape.form, 2), 2U);
  const std::int64_t count = (5 + 4) * 8 + (7 + 1) * 6 + 6 * 8 + 9 * 8;
  EXPECT_EQ(parameter_count(kShape), count);
  EXPECT_EQ(macs_per_token(kShape), count);
  EXPECT_EQ(expert_matrix_rank(kShape), 6);
  std::string cuts;
  for (const FactorSpec& f : factor_specs(kShape)) {
    for (const LayerCut cut :
         {LayerCut::outputs, LayerCut::inputs, LayerCut::rank}) {
      const int dim = factor_placement(f, kShape, cut).cut_dim;
      cuts += dim < 0 ? "-" : std::to_string(dim);
    }
    cuts += ' ';
  }
  EXPECT_EQ(cuts, "--1 --1 -0- --- --1 0-1 ");
}

TEST(NewForm, ItsMixtureIsThatOfItsMaterializedExperts) {
  Factors u;
  u.form = kShape.form;
  u.expert.resize(2);
  std::vector<at::Tensor> leaves;
  for (const FactorSpec& f : factor_specs(kShape)) {
    u.of(f) = numbers(f.shape(kShape), leaves.size()).requires_grad_(true);
    leaves.push_back(u.of(f));
  }
  std::vector<at::Tensor> a;
  for (const auto& level : testing::random_gates(kShape.experts, 11, 40)) {
    a.push_back(level.detach().requires_grad_(true));
  }
  const at::Tensor x = numbers({11, 7}, 50), w = numbers({11, 9}, 51);
  leaves.push_back(x.requires_grad_(true));
  leaves.insert(leaves.end(), a.begin(), a.end());

  at::Tensor expected = at::zeros({11, 9}, at::kDouble);
  testing::each_expert(kShape.experts, [&](const auto& n) {
    const Expert expert = materialize(u, n);
    const at::Tensor weight = a[0].narrow(1, n[0], 1) * a[1].narrow(1, n[1], 1);
    expected = expected + weight * (at::mm(x, expert.matrix) + expert.bias);
  });
  const at::Tensor found = mixture(a, x, {}, {u});
  EXPECT_LT(relative_error(found, expected), 1e-12);

  const auto gradients = [&](const at::Tensor& y) {
    for (auto& leaf : leaves) leaf.mutable_grad().reset();
    (y * w).sum().backward();
    std::vector<at::Tensor> all;
    for (const auto& leaf : leaves) all.push_back(leaf.grad());
    return all;
  };
  const auto right = gradients(expected), given = gradients(found);
  for (std::size_t i = 0; i < right.size(); ++i) {
    EXPECT_LT(relative_error(given[i], right[i]), 1e-12) << "leaf " << i;
  }
}

TEST(NewForm, TheTableListsEachFormByAName) {
  std::string names;
  for (const Form form : forms()) names += fmt::format("{} ", to_string(form));
  EXPECT_EQ(names, "cp tr tt tucker ");
}

}  // namespace
}  // namespace mumoe

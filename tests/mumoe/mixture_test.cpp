// Layers and blocks of every form against Equation 1 with the expert tensor
// written out, and their gradients against autograd through that equation and
// against finite differences.
#include "mumoe/mixture.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"
#include "tests/mumoe/random_layers.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using testing::mixture_by_definition;
using testing::numbers;
using testing::random_factors;
using testing::random_gates;
using testing::relative_error;
using testing::tensors_of;
using Tensors = std::vector<at::Tensor>;

std::int64_t any(std::int64_t low, std::int64_t high) {
  return *rc::gen::resize(rc::kNominalSize,
                          rc::gen::inRange<std::int64_t>(low, high + 1));
}

LayerShape any_shape(std::int64_t inputs,
                     std::int64_t outputs,
                     const std::vector<std::int64_t>& experts) {
  LayerShape s;
  s.form = *rc::gen::element(Form::cp,
                             Form::tensor_ring,
                             Form::tensor_train,
                             Form::tucker);
  s.inputs = inputs;
  s.outputs = outputs;
  s.experts = experts;
  s.bias = *rc::gen::arbitrary<bool>();
  for (std::size_t i = 0; i < rank_count(s.form, experts.size()); ++i) {
    const bool last = i + 1 == rank_count(s.form, experts.size());
    s.ranks.push_back(any(1, last ? 40 : 4));
  }
  if (s.form == Form::tensor_train) s.ranks[0] = 1;
  return s;
}

std::vector<std::int64_t> any_experts() {
  const std::size_t levels = any(1, 4);
  std::vector<std::int64_t> experts;
  for (std::size_t e = 0; e < levels; ++e) {
    experts.push_back(any(1, levels == 1 ? 40 : levels == 2 ? 6 : 3));
  }
  return experts;
}

MixtureOptions any_options() {
  MixtureOptions o;
  o.mixing =
      *rc::gen::element(Mixing::automatic, Mixing::dense, Mixing::sparse);
  o.recompute = *rc::gen::arbitrary<bool>();
  return o;
}

void set_leaves(const Tensors& tensors) {
  for (at::Tensor t : tensors) t.requires_grad_(true);
}

Tensors gradients_of(const at::Tensor& y,
                     const at::Tensor& w,
                     const Tensors& tensors) {
  (y * w).sum().backward();
  Tensors found;
  for (at::Tensor t : tensors) {
    found.push_back(t.grad().defined() ? t.grad().clone() : at::zeros_like(t));
    t.mutable_grad().reset();
  }
  return found;
}

RC_GTEST_PROP(Mixture, EqualsTheMaterialisedMixtureWithItsGradients, ()) {
  const auto experts = any_experts();
  const LayerShape s = any_shape(any(1, 9), any(1, 9), experts);
  const std::int64_t tokens = any(1, 6);
  const auto stream = static_cast<std::uint64_t>(any(0, 1'000'000));
  const Factors u = random_factors(s, stream);
  Tensors a = random_gates(experts, tokens, stream + 50);
  const at::Tensor z = numbers({tokens, s.inputs}, stream + 60);
  const at::Tensor w = numbers({tokens, s.outputs}, stream + 61);
  Tensors tensors = tensors_of(u);
  tensors.push_back(z);
  for (auto& level : a) level = level.detach();
  tensors.insert(tensors.end(), a.begin(), a.end());
  set_leaves(tensors);

  const at::Tensor expected = mixture_by_definition(a, z, u);
  const at::Tensor y = mixture(a, z, {}, {u}, any_options());
  RC_ASSERT(relative_error(y, expected) < 1e-12);
  const Tensors right = gradients_of(expected, w, tensors);
  const Tensors found = gradients_of(y, w, tensors);
  for (std::size_t i = 0; i < right.size(); ++i) {
    RC_ASSERT(relative_error(found[i], right[i]) < 1e-11);
  }
}

/// Exact in the left tail, too, where LibTorch's 1 + erf cancels.
at::Tensor gelu_by_definition(const at::Tensor& x) {
  return x * 0.5 * at::erfc(-x / std::sqrt(2.0));
}

RC_GTEST_PROP(Mixture, BlockEqualsTwoMaterialisedLayersWithGeluBetween, ()) {
  const auto experts = any_experts();
  const std::int64_t inputs = any(2, 9), hidden = any(1, 9);
  const LayerShape s1 = any_shape(inputs, hidden, experts);
  const LayerShape s2 = any_shape(hidden, any(1, 9), experts);
  const std::int64_t tokens = any(1, 6);
  const auto stream = static_cast<std::uint64_t>(any(0, 1'000'000));
  const std::vector<Factors> layers{random_factors(s1, stream),
                                    random_factors(s2, stream + 20)};
  Tensors a = random_gates(experts, tokens, stream + 50);
  const at::Tensor x = numbers({tokens, inputs}, stream + 60);
  const at::Tensor w = numbers({tokens, s2.outputs}, stream + 61);
  InputNorm norm;
  if (*rc::gen::arbitrary<bool>()) {
    norm = {numbers({inputs}, stream + 62), numbers({inputs}, stream + 63)};
  }
  Tensors tensors = tensors_of(layers[0]);
  for (const auto& t : tensors_of(layers[1])) tensors.push_back(t);
  tensors.push_back(x);
  if (norm.weight.defined()) {
    tensors.insert(tensors.end(), {norm.weight, norm.bias});
  }
  for (auto& level : a) level = level.detach();
  tensors.insert(tensors.end(), a.begin(), a.end());
  set_leaves(tensors);

  const at::Tensor z = norm.weight.defined()
                           ? at::layer_norm(x, {inputs}, norm.weight, norm.bias)
                           : x;
  const at::Tensor expected = mixture_by_definition(
      a,
      gelu_by_definition(mixture_by_definition(a, z, layers[0])),
      layers[1]);
  const at::Tensor y = mixture(a, x, norm, layers, any_options());
  // A norm of two nearly equal inputs, and the tail of GELU, amplify rounding.
  RC_ASSERT(relative_error(y, expected) < 1e-10);
  const Tensors right = gradients_of(expected, w, tensors);
  const Tensors found = gradients_of(y, w, tensors);
  for (std::size_t i = 0; i < right.size(); ++i) {
    RC_ASSERT(relative_error(found[i], right[i]) < 1e-8);
  }
}

/// A CP block with a norm, all tensors leaves, for the tests below.
struct Case {
  std::vector<Factors> layers;
  Tensors a;
  at::Tensor x;
  InputNorm norm;

  explicit Case(at::ScalarType dtype = at::kDouble) {
    const LayerShape s{.form = Form::cp,
                       .inputs = 12,
                       .outputs = 20,
                       .experts = {32},
                       .ranks = {23}};
    LayerShape second = s;
    second.inputs = 20;
    second.outputs = 12;
    layers = {testing::converted(random_factors(s, 1), dtype),
              testing::converted(random_factors(second, 20), dtype)};
    a = {random_gates({32}, 40, 50)[0].to(dtype).detach()};
    x = numbers({40, 12}, 60);
    norm = {numbers({12}, 62), numbers({12}, 63)};
    if (dtype == at::kFloat) {
      x = x.to(dtype);
      norm = {norm.weight.to(dtype), norm.bias.to(dtype)};
    }
    if (dtype == at::kBFloat16) {  // a wide residual stream, as in training
      x = x.to(at::kFloat);
      norm = {norm.weight.to(at::kFloat), norm.bias.to(at::kFloat)};
    }
    set_leaves(all());
  }
  Tensors all() const {
    Tensors t = tensors_of(layers[0]);
    for (const auto& u : tensors_of(layers[1])) t.push_back(u);
    t.insert(t.end(), {x, norm.weight, norm.bias, a[0]});
    return t;
  }
  at::Tensor run(const MixtureOptions& options) const {
    return mixture(a, x, norm, layers, options);
  }
};

TEST(Mixture, GradientsEqualFiniteDifferences) {
  const Case c;
  const at::Tensor w = numbers({40, 12}, 777);
  for (const bool recompute : {false, true}) {
    const Tensors found =
        gradients_of(c.run({.recompute = recompute}), w, c.all());
    at::NoGradGuard no_grad;
    constexpr double kStep = 1e-5;
    for (std::size_t k = 0; k < found.size(); ++k) {
      const at::Tensor t = c.all()[k];
      for (std::int64_t i = 0; i < t.numel(); i += 1 + t.numel() / 12) {
        double& value = t.data_ptr<double>()[i];
        const double kept = value;
        value = kept + kStep;
        const double above = (c.run({}) * w).sum().item<double>();
        value = kept - kStep;
        const double below = (c.run({}) * w).sum().item<double>();
        value = kept;
        const double expected = (above - below) / (2 * kStep);
        EXPECT_NEAR(found[k].flatten()[i].item<double>(),
                    expected,
                    1e-5 * (1 + std::abs(expected)))
            << "tensor " << k << ", element " << i;
      }
    }
  }
}

TEST(Mixture, NarrowerTypesFollowTheWideOne) {
  const at::Tensor w = numbers({40, 12}, 777);
  const Case wide;
  const at::Tensor y = wide.run({});
  const Tensors right = gradients_of(y, w, wide.all());
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kFloat, 2e-6}, std::pair{at::kBFloat16, 3e-2}}) {
    for (const auto mixing : {Mixing::dense, Mixing::sparse}) {
      for (const bool recompute : {false, true}) {
        const Case narrow(dtype);
        const at::Tensor found =
            narrow.run({.mixing = mixing, .recompute = recompute});
        EXPECT_EQ(found.scalar_type(), dtype);
        EXPECT_LT(relative_error(found, y), tolerance);
        const Tensors d = gradients_of(found, w.to(dtype), narrow.all());
        for (std::size_t i = 0; i < d.size(); ++i) {
          EXPECT_LT(relative_error(d[i], right[i]), 2 * tolerance)
              << "tensor " << i << " in " << dtype;
        }
      }
    }
  }
}

TEST(Mixture, SupportOnlyLeavesOutTheGradientsThatTheGateIgnores) {
  const Case c;
  const at::Tensor w = numbers({40, 12}, 777);
  const at::Tensor whole =
      gradients_of(c.run({.mixing = Mixing::sparse}), w, {c.a[0]})[0];
  const at::Tensor part =
      gradients_of(c.run({.mixing = Mixing::sparse, .support_only = true}),
                   w,
                   {c.a[0]})[0];
  const at::Tensor active = c.a[0] != 0;
  EXPECT_LT(active.sum().item<std::int64_t>(), c.a[0].numel() / 2);
  EXPECT_LT(relative_error(part, whole * active), 1e-12);
  EXPECT_TRUE(at::equal(part * active, part));
  EXPECT_GT(relative_error(part, whole), 0.1);
}

TEST(Mixture, ZerosDecideHowExpertsAreMixed) {
  const at::Tensor even = at::full({8, 64}, 1.0 / 64);
  at::Tensor one = at::zeros({8, 64});
  one.select(1, 3).fill_(1);
  EXPECT_EQ(choose_mixing({even, one}, Mixing::automatic),
            (SparseLevels{false, true}));
  EXPECT_EQ(choose_mixing({even}, Mixing::sparse), SparseLevels{true});
  for (const Mixing mixing :
       {Mixing::automatic, Mixing::dense, Mixing::sparse}) {
    MixingReport report;
    choose_mixing({even, one}, mixing, &report);
    EXPECT_EQ(report.sparse, mixing != Mixing::dense);
    EXPECT_DOUBLE_EQ(
        report.active,
        (even.count_nonzero() + one.count_nonzero()).item<double>() /
            static_cast<double>(even.numel() + one.numel()));
  }
  EXPECT_EQ(choose_mixing({one}, Mixing::dense), SparseLevels{false});
}

TEST(Mixture, GradientsAreAddedInPlaceToTheBuffersThatLeavesHave) {
  const at::Tensor w = numbers({40, 12}, 777);
  const Case c;
  const Tensors factors = [&] {
    Tensors t = tensors_of(c.layers[0]);
    for (const auto& u : tensors_of(c.layers[1])) t.push_back(u);
    return t;
  }();
  const Tensors once = gradients_of(c.run({}), w, factors);
  Tensors buffers;
  for (at::Tensor t : factors) {
    buffers.push_back(at::ones_like(t));
    t.mutable_grad() = buffers.back();
  }
  (c.run({.gradients_in_place = true}) * w).sum().backward();
  for (std::size_t i = 0; i < factors.size(); ++i) {
    EXPECT_EQ(factors[i].grad().data_ptr(), buffers[i].data_ptr());
    EXPECT_LT(relative_error(buffers[i], once[i] + 1), 1e-12);
  }
}

TEST(Mixture, NotANumberStaysInItsToken) {
  for (const auto mixing : {Mixing::dense, Mixing::sparse}) {
    Case c;
    const at::NoGradGuard no_grad;
    const at::Tensor before = c.run({.mixing = mixing});
    c.a[0][5][0].fill_(std::nan(""));
    const at::Tensor after = c.run({.mixing = mixing});
    EXPECT_TRUE(after[5].isnan().all().item<bool>());
    EXPECT_TRUE(at::equal(after.slice(0, 6), before.slice(0, 6)));
  }
}

TEST(Mixture, MaterializedExpertsAreTheDefinition) {
  for (const auto form :
       {Form::cp, Form::tensor_ring, Form::tensor_train, Form::tucker}) {
    for (const bool bias : {false, true}) {
      const LayerShape s{.form = form,
                         .inputs = 5,
                         .outputs = 4,
                         .experts = {3, 2},
                         .ranks = form == Form::cp
                                      ? std::vector<std::int64_t>{6}
                                      : std::vector<std::int64_t>{1, 3, 2, 7},
                         .bias = bias};
      const Factors u = random_factors(s, 5);
      testing::each_expert(s.experts, [&](const auto& n) {
        const at::Tensor w = testing::expert_by_definition(u, n);
        const Expert expert = materialize(u, n);
        EXPECT_TRUE(at::allclose(expert.matrix, w.narrow(0, 0, 5)));
        EXPECT_TRUE(at::allclose(expert.bias,
                                 bias ? w[5] : at::zeros({4}, w.options())));
      });
      EXPECT_THROW(materialize(u, {0, 2}), InputError);
      EXPECT_THROW(materialize(u, {0}), InputError);
    }
  }
}

TEST(Mixture, ShapesThatDoNotFitAreRefused) {
  const Case c;
  EXPECT_THROW(mixture(c.a, numbers({40, 11}, 1), {}, c.layers), InternalError);
  EXPECT_THROW(mixture({numbers({40, 31}, 1)}, c.x, c.norm, c.layers),
               InternalError);
  EXPECT_THROW(mixture(c.a, c.x, c.norm, {c.layers[0], c.layers[0]}),
               InternalError);
}

}  // namespace
}  // namespace mumoe

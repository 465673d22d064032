#include "mumoe/factors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "mumoe/cp.h"
#include "mumoe/tr.h"
#include "mumoe/tucker.h"

namespace mumoe {
namespace {

using dist::Initializer;

std::vector<std::int64_t> with_front(std::int64_t first,
                                     std::vector<std::int64_t> rest) {
  rest.insert(rest.begin(), first);
  return rest;
}

/// Shapes of the factors without their first dims.
struct Inner {
  std::vector<std::vector<std::int64_t>> expert;
  std::vector<std::int64_t> input;
  std::vector<std::int64_t> core;
  std::vector<std::int64_t> output;
};

Inner inner_shapes(const LayerShape& s) {
  const std::size_t levels = s.experts.size();
  const auto& r = s.ranks;
  Inner inner;
  for (std::size_t e = 0; e < levels; ++e) {
    switch (s.form) {
      case Form::cp:
        inner.expert.push_back({r[0]});
        break;
      case Form::tensor_ring:
      case Form::tensor_train:
        inner.expert.push_back({r[e], r[e + 1]});
        break;
      case Form::tucker:
        inner.expert.push_back({r[e]});
    }
  }
  switch (s.form) {
    case Form::cp:
      inner.input = inner.output = {r[0]};
      break;
    case Form::tensor_ring:
    case Form::tensor_train:
      inner.input = {r[levels], r[levels + 1]};
      inner.output = {r[0], r[levels + 1]};
      break;
    case Form::tucker:
      inner.input = {r[levels]};
      inner.output = {r[levels + 1]};
      inner.core = r;
  }
  return inner;
}

/// What U_e starts from: 1 + noise, on the diagonal of a ring's matrices.
Initializer expert_init(const LayerShape& s, std::size_t level, double noise) {
  const double deviation = level == 0 ? 1 : noise;
  const auto init = deviation > 0 ? Initializer::normal(1, deviation)
                                  : Initializer::constant(1);
  const bool ring = s.form == Form::tensor_ring || s.form == Form::tensor_train;
  return ring ? init.on_diagonal(s.ranks[level], s.ranks[level + 1]) : init;
}

}  // namespace

LayerShape Factors::shape() const {
  MUMOE_CHECK(!expert.empty() && input.defined() && output.defined());
  LayerShape s{.form = form,
               .inputs = input.size(0),
               .outputs = output.size(0),
               .experts = {},
               .ranks = {},
               .bias = input_bias.defined()};
  for (const auto& u : expert) s.experts.push_back(u.size(0));
  switch (form) {
    case Form::cp:
      s.ranks = {input.size(1)};
      break;
    case Form::tensor_ring:
    case Form::tensor_train:
      MUMOE_CHECK(input.dim() == 3 && output.dim() == 3);
      for (const auto& u : expert) s.ranks.push_back(u.size(1));
      s.ranks.push_back(input.size(1));
      s.ranks.push_back(input.size(2));
      break;
    case Form::tucker:
      for (const auto& u : expert) s.ranks.push_back(u.size(1));
      s.ranks.push_back(input.size(1));
      s.ranks.push_back(output.size(1));
  }
  const Inner inner = inner_shapes(s);
  const auto check = [](const char* name,
                        const at::Tensor& u,
                        const std::vector<std::int64_t>& expected) {
    MUMOE_CHECK(u.sizes() == at::IntArrayRef(expected),
                "{} factor is {}, expected {}",
                name,
                u.sizes(),
                at::IntArrayRef(expected));
  };
  for (std::size_t e = 0; e < expert.size(); ++e) {
    check("expert", expert[e], with_front(s.experts[e], inner.expert[e]));
  }
  check("input", input, with_front(s.inputs, inner.input));
  check("output", output, with_front(s.outputs, inner.output));
  if (input_bias.defined()) check("input bias", input_bias, inner.input);
  if (form == Form::tucker) check("core", core, inner.core);
  return s;
}

at::Tensor factor_matrix(const at::Tensor& factor) {
  return factor.flatten(1);
}

Expert materialize(const Factors& u, const std::vector<std::int64_t>& indices) {
  const LayerShape s = u.shape();
  require(indices.size() == s.experts.size(),
          "expert of {} indices, expected one for each of {} levels",
          indices.size(),
          s.experts.size());
  std::vector<at::Tensor> rows;
  for (std::size_t e = 0; e < indices.size(); ++e) {
    require(indices[e] >= 0 && indices[e] < s.experts[e],
            "expert {} of level {}: expected 0 to {}",
            indices[e],
            e + 1,
            s.experts[e] - 1);
    rows.push_back(u.expert[e].select(0, indices[e]));
  }
  // One more input, the bias row, makes both at once.
  const at::Tensor input =
      s.bias ? at::cat({u.input, u.input_bias.unsqueeze(0)}) : u.input;
  at::Tensor matrix;
  switch (u.form) {
    case Form::cp:
      matrix = cp_matrix(rows, input, u.output);
      break;
    case Form::tensor_ring:
    case Form::tensor_train:
      matrix = tr_matrix(rows, input, u.output);
      break;
    case Form::tucker:
      matrix = tucker_matrix(rows, input, u.core, u.output);
  }
  if (!s.bias) return {matrix, at::zeros({s.outputs}, matrix.options())};
  return {matrix.narrow(0, 0, s.inputs), matrix.select(0, s.inputs)};
}

Factors add_factors(const LayerShape& s,
                    double level_noise,
                    const std::string& prefix,
                    dist::ParameterRegistry& registry,
                    LayerCut cut) {
  s.validate();
  const FactorPlacements place = factor_placements(s, cut);
  const auto add = [&](const std::string& name,
                       std::vector<std::int64_t> shape,
                       dist::Placement placement,
                       Initializer init) {
    return registry.add({.name = prefix + name,
                         .global_shape = std::move(shape),
                         .placement = placement,
                         .decay = true,
                         .init = init});
  };
  const Inner inner = inner_shapes(s);
  Factors u;
  u.form = s.form;
  for (std::size_t e = 0; e < s.experts.size(); ++e) {
    u.expert.push_back(add(fmt::format("expert.{}", e),
                           with_front(s.experts[e], inner.expert[e]),
                           place.expert,
                           expert_init(s, e, level_noise)));
  }
  const auto from_inputs = Initializer::uniform(std::sqrt(1.0 / s.inputs));
  u.input =
      add("input", with_front(s.inputs, inner.input), place.input, from_inputs);
  if (s.bias)
    u.input_bias =
        add("input_bias", inner.input, place.input_bias, from_inputs);
  if (s.form == Form::tucker) {
    // Frobenius norm 1 on average.
    std::int64_t count = 1;
    for (const auto size : inner.core) count *= size;
    u.core = add("core",
                 inner.core,
                 place.core,
                 Initializer::normal(0, std::sqrt(1.0 / count)));
  }
  std::int64_t summed = 1;
  for (const auto size : inner.output) summed *= size;
  u.output = add("output",
                 with_front(s.outputs, inner.output),
                 place.output,
                 Initializer::uniform(std::sqrt(1.0 / summed)));
  return u;
}

}  // namespace mumoe

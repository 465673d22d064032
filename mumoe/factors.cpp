#include "mumoe/factors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/error.h"
#include "dist/torch_text.h"

namespace mumoe {
namespace {

using dist::Initializer;

std::string name_of(const FactorSpec& f) {
  switch (f.role) {
    case Role::expert:
      return fmt::format("expert.{}", f.level);
    case Role::input:
      return "input";
    case Role::input_bias:
      return "input_bias";
    case Role::core:
      return "core";
    case Role::output:
      return "output";
  }
  fail<InternalError>("no such role");
}

Initializer start_of(const FactorSpec& f, const LayerShape& s, double noise) {
  switch (f.role) {
    case Role::expert: {
      const double deviation = f.level == 0 ? 1 : noise;
      const auto init = deviation > 0 ? Initializer::normal(1, deviation)
                                      : Initializer::constant(1);
      const auto shape = f.shape(s);
      return shape.size() == 3 ? init.on_diagonal(shape[1], shape[2]) : init;
    }
    case Role::input:
    case Role::input_bias:
      return Initializer::uniform(std::sqrt(1.0 / s.inputs));
    case Role::core:
      return Initializer::normal(0, std::sqrt(1.0 / f.numel(s)));
    case Role::output:
      return Initializer::uniform(std::sqrt(1.0 / f.columns(s)));
  }
  fail<InternalError>("no such role");
}

}  // namespace

const at::Tensor& Factors::of(const FactorSpec& spec) const {
  switch (spec.role) {
    case Role::expert:
      return expert.at(spec.level);
    case Role::input:
      return input;
    case Role::input_bias:
      return input_bias;
    case Role::core:
      return core;
    case Role::output:
      return output;
  }
  fail<InternalError>("no such role");
}

at::Tensor& Factors::of(const FactorSpec& spec) {
  return const_cast<at::Tensor&>(std::as_const(*this).of(spec));
}

LayerShape Factors::shape() const {
  constexpr std::int64_t kUnknown = -1;
  const std::size_t levels = expert.size();
  MUMOE_CHECK(levels > 0);
  LayerShape s{
      .form = form,
      .inputs = kUnknown,
      .outputs = kUnknown,
      .experts = std::vector<std::int64_t>(levels, kUnknown),
      .ranks = std::vector<std::int64_t>(rank_count(form, levels), kUnknown),
      .bias = input_bias.defined()};
  for (const FactorSpec& f : factor_specs(s)) {
    const at::Tensor& u = of(f);
    const auto dims = static_cast<std::int64_t>(f.dims.size());
    MUMOE_CHECK(u.defined() && u.dim() == dims,
                "{} factor of {} dims, expected {}",
                name_of(f),
                u.dim(),
                dims);
    for (std::int64_t d = 0; d < dims; ++d) {
      std::int64_t& size = f.dims[d].in(s);
      if (size == kUnknown) size = u.size(d);
      MUMOE_CHECK(size == u.size(d),
                  "{} factor is {}, expected {} in dim {}",
                  name_of(f),
                  u.sizes(),
                  size,
                  d);
    }
  }
  return s;
}

at::Tensor factor_matrix(const at::Tensor& factor) {
  return factor.flatten(1);
}

at::Tensor core_matrix(const at::Tensor& core) {
  const std::int64_t ri = core.size(-2);
  return core.movedim(-2, 0).reshape({ri, core.numel() / ri});
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
            e,
            s.experts[e] - 1);
    rows.push_back(u.expert[e].select(0, indices[e]));
  }
  // One more input, the bias row, makes both at once.
  const at::Tensor input =
      s.bias ? at::cat({u.input, u.input_bias.unsqueeze(0)}) : u.input;
  const at::Tensor matrix =
      u.form->expert_matrix({rows, input, u.core, u.output});
  if (!s.bias) return {matrix, at::zeros({s.outputs}, matrix.options())};
  return {matrix.narrow(0, 0, s.inputs), matrix.select(0, s.inputs)};
}

Factors add_factors(const LayerShape& s,
                    double level_noise,
                    const std::string& prefix,
                    dist::ParameterRegistry& registry,
                    LayerCut cut) {
  s.validate();
  Factors u;
  u.form = s.form;
  u.expert.resize(s.experts.size());
  // The rank that sums input and output is the length of rows: zeros behind it
  // in all factors that have it make no other numbers, and get no gradient.
  const Dim last = Dim::rank(s.ranks.size() - 1);
  for (const FactorSpec& f : factor_specs(s)) {
    u.of(f) = registry.add({.name = prefix + name_of(f),
                            .global_shape = f.shape(s),
                            .placement = factor_placement(f, s, cut),
                            .decay = true,
                            .init = start_of(f, s, level_noise),
                            .padded_dim = f.place(last)});
  }
  return u;
}

}  // namespace mumoe

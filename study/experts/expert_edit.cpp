#include "study/experts/expert_edit.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace mumoe::study {
namespace {

void require_expert(const char* option, std::int64_t n, std::int64_t experts) {
  require(n >= 0 && n < experts,
          "--{} {}: expected an expert from 0 to {}",
          option,
          n,
          experts - 1);
}

/// Whether a shift makes rank `index` of a layer larger by one.
bool grows(const LayerShape& shape, std::size_t index) {
  const bool ring =
      shape.form == Form::tensor_ring || shape.form == Form::tensor_train;
  return !ring || index > 0;
}

/// Where the one element of a shift lies in a factor: behind all of the ranks
/// that grow, at the front of others. `own`: in the dim that is no rank.
std::vector<at::indexing::TensorIndex> place_of(const FactorSpec& factor,
                                                const LayerShape& before,
                                                std::int64_t own) {
  std::vector<at::indexing::TensorIndex> place;
  for (const Dim dim : factor.dims) {
    if (dim.of != Dim::Of::rank) {
      place.emplace_back(own);
    } else {
      place.emplace_back(grows(before, dim.index) ? dim.in(before) : 0);
    }
  }
  return place;
}

}  // namespace

std::vector<double> ExpertEdit::factors(std::int64_t experts) const {
  const auto count = static_cast<std::size_t>(experts);
  std::vector<double> factors(count, keep.empty() ? 1 : 0);
  for (const std::int64_t n : keep) {
    require_expert("keep", n, experts);
    factors[static_cast<std::size_t>(n)] = 1;
  }
  for (const auto& [n, factor] : scale) {
    require_expert("scale", n, experts);
    require(std::isfinite(factor),
            "--scale {}={}: expected a finite number",
            n,
            factor);
    factors[static_cast<std::size_t>(n)] *= factor;
  }
  for (const std::int64_t n : remove) {
    require_expert("remove", n, experts);
    factors[static_cast<std::size_t>(n)] = 0;
  }
  return factors;
}

LayerShape shape_with_shift(const LayerShape& shape) {
  require(shape.bias,
          "--shift: is written into the experts' biases; expected "
          "model.expert_bias = yes");
  LayerShape grown = shape;
  for (std::size_t r = 0; r < grown.ranks.size(); ++r) {
    grown.ranks[r] += grows(shape, r) ? 1 : 0;
  }
  return grown;
}

namespace {

/// Sets what a shift adds to `grown`, the factor `spec` of `before` with ranks
/// that are new and zero.
void set_shift(const FactorSpec& spec,
               const LayerShape& before,
               std::size_t level,
               const LogitShift& shift,
               at::Tensor& grown) {
  const auto set = [&](std::int64_t own, double value) {
    grown.index_put_(place_of(spec, before, own), value);
  };
  switch (spec.role) {
    case Role::expert:
      for (std::int64_t n = 0; n < grown.size(0); ++n) {
        set(n, spec.level == level ? shift.direction[n] : 1);
      }
      break;
    case Role::input:
      break;
    case Role::input_bias:
    case Role::core:
      set(0, 1);
      break;
    case Role::output:
      for (const auto& [o, lambda] : shift.of_class) set(o, lambda);
  }
}

}  // namespace

Factors with_shift(const Factors& factors,
                   std::size_t level,
                   const LogitShift& shift) {
  const at::NoGradGuard no_grad;
  const LayerShape before = factors.shape();
  const LayerShape after = shape_with_shift(before);
  const auto experts = static_cast<std::size_t>(before.experts.at(level));
  require(shift.direction.size() == experts,
          "--shift: a direction of {} numbers; expected one for each of {} "
          "experts",
          shift.direction.size(),
          experts);
  for (const auto& [o, lambda] : shift.of_class) {
    require(o >= 0 && o < before.outputs,
            "--shift {}={}: expected a class from 0 to {}",
            o,
            lambda,
            before.outputs - 1);
  }
  Factors grown;
  grown.form = factors.form;
  grown.expert.resize(factors.expert.size());
  for (const FactorSpec& spec : factor_specs(before)) {
    const at::Tensor& old = factors.of(spec);
    at::Tensor& u = grown.of(spec);
    u = at::zeros(spec.shape(after), old.options());
    at::Tensor part = u;
    for (std::int64_t d = 0; d < old.dim(); ++d) {
      part = part.narrow(d, 0, old.size(d));
    }
    part.copy_(old);
    set_shift(spec, before, level, shift, u);
  }
  return grown;
}

}  // namespace mumoe::study

#include "mumoe/layer.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <functional>

#include "mumoe/tucker.h"

namespace mumoe {
namespace {

using Tensors = std::vector<at::Tensor>;

/// Calls `compute(target, accumulate)` for the gradient of `factor`, shaped
/// like it; returns it, or nothing when it was added in place or is not needed.
at::Tensor gradient_of(
    const at::Tensor& factor,
    bool in_place,
    const std::function<void(const at::Tensor&, bool)>& compute) {
  if (!factor.defined() || !factor.requires_grad()) return {};
  const at::Tensor& held = factor.is_leaf() ? factor.grad() : at::Tensor();
  if (!in_place || !held.defined() || !held.is_contiguous() ||
      held.scalar_type() != factor.scalar_type()) {
    const at::Tensor fresh = at::empty(factor.sizes(), factor.options());
    compute(fresh, false);
    return fresh;
  }
  compute(held, true);
  const auto& hook = torch::autograd::impl::post_acc_grad_hooks(factor);
  if (hook != nullptr) (*hook)(factor);
  return {};
}

/// Stores a gradient of the same shape, or adds it to what is there.
void put(const at::Tensor& target, const at::Tensor& value, bool accumulate) {
  if (accumulate) {
    target.add_(value);
  } else {
    target.copy_(value);
  }
}

/// The products of one layer's gradients, into its `FactorGradients`.
class GradientWriter {
 public:
  GradientWriter(const LayerOperands& layer, FactorGradients& gradients)
      : layer_(layer), gradients_(gradients) {
    gradients.returned.form = layer.factors.form;
  }

  void output(const at::Tensor& dy, const at::Tensor& c) {
    gradients_.returned.output = product(layer_.factors.output, dy.t(), c);
  }
  void input(const at::Tensor& z, const at::Tensor& dq) {
    gradients_.returned.input = product(layer_.factors.input, z.t(), dq);
  }
  void experts(const Tensors& mixed) {
    for (std::size_t e = 0; e < mixed.size(); ++e) {
      gradients_.returned.expert.push_back(
          gradient_of(layer_.factors.expert[e],
                      gradients_.in_place,
                      [&](const at::Tensor& target, bool accumulate) {
                        expert_gradient_into(factor_matrix(target),
                                             layer_.coefficients[e],
                                             mixed[e],
                                             layer_.sparse[e],
                                             accumulate,
                                             layer_.library);
                      }));
    }
  }
  void bias(const at::Tensor& dq) {
    gradients_.returned.input_bias =
        gradient_of(layer_.factors.input_bias,
                    gradients_.in_place,
                    [&](const at::Tensor& target, bool accumulate) {
                      put(target, dq.sum(0).view(target.sizes()), accumulate);
                    });
  }
  void core(const at::Tensor& inner, const at::Tensor& dq) {
    const at::Tensor& core = layer_.factors.core;
    gradients_.returned.core = gradient_of(
        core,
        gradients_.in_place,
        [&](const at::Tensor& target, bool accumulate) {
          // [RI, K, RO] → [K…, RI, RO]
          const at::Tensor dcore = mm(inner.t(), dq, layer_.library)
                                       .view({core.size(-2), -1, core.size(-1)})
                                       .movedim(0, 1)
                                       .reshape(core.sizes());
          put(target, dcore, accumulate);
        });
  }

 private:
  at::Tensor product(const at::Tensor& factor,
                     const at::Tensor& left,
                     const at::Tensor& right) {
    return gradient_of(factor,
                       gradients_.in_place,
                       [&](const at::Tensor& target, bool accumulate) {
                         mm_into(factor_matrix(target),
                                 left,
                                 right,
                                 accumulate,
                                 layer_.library);
                       });
  }

  const LayerOperands& layer_;
  FactorGradients& gradients_;
};

void add_to(Tensors& sums, const Tensors& more) {
  if (sums.empty()) {
    sums = more;
    return;
  }
  for (std::size_t e = 0; e < sums.size(); ++e) sums[e].add_(more[e]);
}

at::Tensor input_gradient(const LayerOperands& layer, const at::Tensor& dq) {
  return mm(dq, factor_matrix(layer.factors.input).t(), layer.library);
}

/// A cut rank is summed over by y, dz, and whatever meets a slice of it: dm of
/// rings and Tucker (which makes da and dU_e complete), da of CP, z U_I of
/// Tucker. One operation a layer. Returns dz; `dinner` is Tucker's.
at::Tensor sum_over_rank(const LayerOperands& layer,
                         const LayerBackward& how,
                         CombineGradients& d,
                         at::Tensor& dinner,
                         Tensors& da) {
  const Form form = layer.factors.form;
  std::vector<at::Tensor*> partial;
  if (form == Form::cp) {
    add_to(da, d.coefficients);
    for (auto& a : da) {
      if (how.last) partial.push_back(&a);
    }
  } else {
    for (auto& m : d.mixed) partial.push_back(&m);
  }
  at::Tensor dz;
  if (form == Form::tucker) {
    partial.push_back(&dinner);
  } else if (how.input_wanted) {
    dz = input_gradient(layer, dinner);
    partial.push_back(&dz);
  }
  layer.sharding.sum_gradients(partial);
  if (form == Form::tucker && how.input_wanted) {
    dz = input_gradient(layer, dinner);
  }
  if (form != Form::cp) {
    Tensors whole;
    for (std::size_t e = 0; e < d.mixed.size(); ++e) {
      whole.push_back(mm(d.mixed[e],
                         factor_matrix(layer.factors.expert[e]).t(),
                         layer.library));
    }
    add_to(da, whole);
  }
  return dz;
}

}  // namespace

LayerKept layer_project(const LayerOperands& layer, const at::Tensor& z) {
  const Factors& u = layer.factors;
  LayerKept kept;
  kept.projection = layer.sharding.sum_projection(
      mm(z, factor_matrix(u.input), layer.library));
  if (u.form != Form::tucker) return kept;
  kept.inner = kept.projection;
  if (u.input_bias.defined()) kept.inner.add_(u.input_bias);
  kept.projection = mm(kept.inner, tucker_core_matrix(u.core), layer.library);
  return kept;
}

at::Tensor layer_combine(const LayerOperands& layer, LayerKept& kept) {
  const at::Tensor c =
      layer.sharding.spread_combined(combine(layer.coefficients,
                                             layer.sparse,
                                             layer.factors,
                                             kept.projection,
                                             layer.library));
  if (layer.sharding.keeps_combined()) kept.combined = c;
  return c;
}

at::Tensor layer_expand(const LayerOperands& layer,
                        const at::Tensor& combined) {
  at::Tensor y =
      mm(combined, factor_matrix(layer.factors.output).t(), layer.library);
  layer.sharding.sum_output(y);
  return y;
}

void layer_backward(const LayerOperands& layer,
                    const LayerKept& kept,
                    const at::Tensor& dy,
                    const LayerBackward& how,
                    FactorGradients& gradients,
                    Tensors& da) {
  const Factors& u = layer.factors;
  const LayerSharding& sharding = layer.sharding;
  const bool ring_rank = sharding.rank_cut() && u.form != Form::cp;
  GradientWriter write(layer, gradients);

  const auto dc = sharding.sum_combined_gradient(
      mm(dy, factor_matrix(u.output), layer.library));
  if (kept.combined.defined()) write.output(dy, kept.combined);
  CombineGradients d = combine_backward(layer.coefficients,
                                        layer.sparse,
                                        u,
                                        kept.projection,
                                        dc.wait(),
                                        layer.support_only,
                                        /*coefficients_wanted=*/!ring_rank,
                                        layer.library);
  if (!kept.combined.defined()) write.output(dy, d.result);
  d.result.reset();

  // Of what the bias row was added to: q, or Tucker's inner.
  at::Tensor dinner = d.projection;
  if (u.form == Form::tucker) {
    write.core(kept.inner, d.projection);
    dinner = mm(d.projection, tucker_core_matrix(u.core).t(), layer.library);
  }
  at::Tensor dz;
  if (sharding.rank_cut()) {
    dz = sum_over_rank(layer, how, d, dinner, da);
  } else {
    add_to(da, d.coefficients);
  }
  const auto spread = sharding.spread_projection_gradient(dinner);
  write.experts(d.mixed);
  write.bias(dinner);
  dinner = spread.wait();
  if (!sharding.rank_cut() && how.input_wanted) {
    dz = input_gradient(layer, dinner);
  }
  write.input(how.restore(dz), dinner);
}

}  // namespace mumoe

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

}  // namespace

LayerKept layer_project(const at::Tensor& z,
                        const Factors& u,
                        GemmLibrary library) {
  LayerKept kept;
  kept.projection = mm(z, factor_matrix(u.input), library);
  if (u.form != Form::tucker) return kept;
  kept.inner = kept.projection;
  if (u.input_bias.defined()) kept.inner.add_(u.input_bias);
  kept.projection = mm(kept.inner, tucker_core_matrix(u.core), library);
  return kept;
}

at::Tensor layer_output(const Tensors& a,
                        const SparseLevels& sparse,
                        const Factors& u,
                        const LayerKept& kept,
                        GemmLibrary library) {
  const at::Tensor c = combine(a, sparse, u, kept.projection, library);
  return mm(c, factor_matrix(u.output).t(), library);
}

Tensors layer_backward(const Tensors& a,
                       const SparseLevels& sparse,
                       const Factors& u,
                       const LayerKept& kept,
                       const at::Tensor& dy,
                       bool support_only,
                       bool input_wanted,
                       const RestoreInput& restore,
                       GemmLibrary library,
                       FactorGradients& gradients) {
  const bool in_place = gradients.in_place;
  Factors& out = gradients.returned;
  const auto product_into = [&](const at::Tensor& left,
                                const at::Tensor& right) {
    return [&, left, right](const at::Tensor& target, bool accumulate) {
      mm_into(factor_matrix(target), left, right, accumulate, library);
    };
  };
  CombineGradients d =
      combine_backward(a,
                       sparse,
                       u,
                       kept.projection,
                       mm(dy, factor_matrix(u.output), library),
                       support_only,
                       library);
  out.form = u.form;
  out.output = gradient_of(u.output, in_place, product_into(dy.t(), d.result));
  d.result.reset();
  for (std::size_t e = 0; e < a.size(); ++e) {
    out.expert.push_back(
        gradient_of(u.expert[e],
                    in_place,
                    [&](const at::Tensor& target, bool accumulate) {
                      expert_gradient_into(factor_matrix(target),
                                           a[e],
                                           d.mixed[e],
                                           sparse[e],
                                           accumulate,
                                           library);
                    }));
  }
  at::Tensor dq = d.projection;
  if (u.form == Form::tucker) {
    const at::Tensor core = tucker_core_matrix(u.core);
    out.core =
        gradient_of(u.core,
                    in_place,
                    [&](const at::Tensor& target, bool accumulate) {
                      // [RI, K, RO] → [K…, RI, RO]
                      const auto ro = u.core.size(-1), ri = u.core.size(-2);
                      const at::Tensor dcore = mm(kept.inner.t(), dq, library)
                                                   .view({ri, -1, ro})
                                                   .movedim(0, 1)
                                                   .reshape(u.core.sizes());
                      put(target, dcore, accumulate);
                    });
    dq = mm(dq, core.t(), library);
  }
  out.input_bias =
      gradient_of(u.input_bias,
                  in_place,
                  [&](const at::Tensor& target, bool accumulate) {
                    put(target, dq.sum(0).view(target.sizes()), accumulate);
                  });
  const at::Tensor z =
      restore(input_wanted ? mm(dq, factor_matrix(u.input).t(), library)
                           : at::Tensor());
  out.input = gradient_of(u.input, in_place, product_into(z.t(), dq));
  return std::move(d.coefficients);
}

}  // namespace mumoe

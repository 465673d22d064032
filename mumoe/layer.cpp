#include "mumoe/layer.h"

#include <ATen/ATen.h>

#include "dist/params/gradient_slot.h"

namespace mumoe {
namespace {

using Tensors = std::vector<at::Tensor>;

/// The gradient of `factor` by `write(slot)`; undefined when it was added in
/// place or is not needed.
template <class Write>
at::Tensor gradient_of(const LayerOperands& layer,
                       const at::Tensor& factor,
                       Write write) {
  const dist::GradientSlot slot(factor, layer.gradients_in_place);
  if (slot.wanted()) write(slot);
  return slot.finish();
}

/// The same, a product.
at::Tensor factor_gradient(const LayerOperands& layer,
                           const at::Tensor& factor,
                           const at::Tensor& left,
                           const at::Tensor& right) {
  return gradient_of(layer, factor, [&](const dist::GradientSlot& slot) {
    mm_into(factor_matrix(slot.target()),
            left,
            right,
            slot.accumulate(),
            layer.library);
  });
}

at::Tensor core_gradient(const LayerOperands& layer,
                         const at::Tensor& inner,
                         const at::Tensor& dq) {
  const at::Tensor& core = layer.factors.core;
  return gradient_of(layer, core, [&](const dist::GradientSlot& slot) {
    // [RI, K, RO] → [K…, RI, RO]
    slot.put(mm(inner.t(), dq, layer.library)
                 .view({core.size(-2), -1, core.size(-1)})
                 .movedim(0, 1)
                 .reshape(core.sizes()));
  });
}

void expert_and_bias_gradients(const LayerOperands& layer,
                               const Tensors& dm,
                               const at::Tensor& dq,
                               Factors& gradients) {
  const Factors& u = layer.factors;
  for (std::size_t e = 0; e < dm.size(); ++e) {
    gradients.expert.push_back(
        gradient_of(layer, u.expert[e], [&](const dist::GradientSlot& slot) {
          expert_gradient_into(factor_matrix(slot.target()),
                               layer.coefficients[e],
                               dm[e],
                               layer.sparse[e],
                               slot.accumulate(),
                               layer.library);
        }));
  }
  gradients.input_bias =
      gradient_of(layer, u.input_bias, [&](const dist::GradientSlot& slot) {
        slot.put(dq.sum(0).view(slot.target().sizes()));
      });
}

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

/// A cut rank is summed over by y, dz, and whatever meets a slice of it: dm,
/// which makes da and dU_e complete, or da where experts have the rank
/// themselves (CP); z U_I where there is a core. One operation a layer. Returns
/// dz; `dq` is of z U_I.
at::Tensor sum_over_rank(const LayerOperands& layer,
                         const LayerBackward& how,
                         bool experts_cut,
                         CombineGradients& d,
                         at::Tensor& dq,
                         Tensors& da) {
  const bool core = layer.factors.core.defined();
  std::vector<at::Tensor*> partial;
  if (experts_cut) {
    add_to(da, d.coefficients);
    for (auto& a : da) {
      if (how.last) partial.push_back(&a);
    }
  } else {
    for (auto& m : d.mixed) partial.push_back(&m);
  }
  at::Tensor dz;
  if (core) {
    partial.push_back(&dq);
  } else if (how.input_wanted) {
    dz = input_gradient(layer, dq);
    partial.push_back(&dz);
  }
  layer.sharding.sum_gradients(partial);
  if (core && how.input_wanted) dz = input_gradient(layer, dq);
  if (experts_cut) return dz;
  Tensors whole;
  for (std::size_t e = 0; e < d.mixed.size(); ++e) {
    whole.push_back(mm(d.mixed[e],
                       factor_matrix(layer.factors.expert[e]).t(),
                       layer.library));
  }
  add_to(da, whole);
  return dz;
}

}  // namespace

LayerKept layer_project(const LayerOperands& layer, const at::Tensor& z) {
  const Factors& u = layer.factors;
  LayerKept kept;
  kept.projection = layer.sharding.sum_projection(
      mm(z, factor_matrix(u.input), layer.library));
  if (!u.core.defined()) return kept;
  kept.inner = kept.projection;
  if (u.input_bias.defined()) kept.inner.add_(u.input_bias);
  kept.projection = mm(kept.inner, core_matrix(u.core), layer.library);
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

InputGradient layer_backward(const LayerOperands& layer,
                             const LayerKept& kept,
                             const at::Tensor& dy,
                             const LayerBackward& how,
                             Factors& gradients,
                             Tensors& da) {
  const Factors& u = layer.factors;
  const LayerSharding& sharding = layer.sharding;
  const bool rank_cut = sharding.rank_cut();
  const bool experts_cut = rank_cut && experts_have_last_rank(u.shape());

  // y = c U_Oᵀ
  const auto dc = sharding.sum_combined_gradient(
      mm(dy, factor_matrix(u.output), layer.library));
  if (kept.combined.defined()) {
    gradients.output = factor_gradient(layer, u.output, dy.t(), kept.combined);
  }
  // c = m_1 … m_E with q + b
  CombineGradients d =
      combine_backward(layer.coefficients,
                       layer.sparse,
                       u,
                       kept.projection,
                       dc.wait(),
                       layer.support_only,
                       /*coefficients_wanted=*/!rank_cut || experts_cut,
                       layer.library);
  if (!kept.combined.defined()) {
    gradients.output = factor_gradient(layer, u.output, dy.t(), d.result);
  }
  d.result.reset();
  // q = z U_I, or (z U_I + b) times the core: dq of what has the bias.
  at::Tensor dq = d.projection;
  if (u.core.defined()) {
    gradients.core = core_gradient(layer, kept.inner, d.projection);
    dq = mm(d.projection, core_matrix(u.core).t(), layer.library);
  }
  at::Tensor dz;
  if (rank_cut) {
    dz = sum_over_rank(layer, how, experts_cut, d, dq, da);
  } else {
    add_to(da, d.coefficients);
  }
  const auto spread = sharding.spread_projection_gradient(dq);
  expert_and_bias_gradients(layer, d.mixed, dq, gradients);
  dq = spread.wait();
  if (!rank_cut && how.input_wanted) dz = input_gradient(layer, dq);
  return {dz, dq};
}

void input_factor_backward(const LayerOperands& layer,
                           const at::Tensor& z,
                           const at::Tensor& dq,
                           Factors& gradients) {
  gradients.input = factor_gradient(layer, layer.factors.input, z.t(), dq);
}

}  // namespace mumoe

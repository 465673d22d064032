// Shapes: T tokens, C width.
#include "mumoe/norm.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <utility>

#include "base/error.h"
#include "dist/node_state.h"
#include "dist/params/gradient_slot.h"
#include "dist/torch_text.h"
#include "mumoe/kernels/norm.h"
#include "mumoe/kernels/on_device.h"

namespace mumoe {
namespace {

using kernels::pointer;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::ScalarType wide_type(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

/// One call, as backward needs it.
struct Call {
  at::ScalarType dtype;
  bool adds;  ///< Whether there is a y.
  bool rounds;
  at::Tensor sum_TC = {}, mean_T = {}, rstd_T = {};
  at::Tensor weight_C = {}, bias_C = {};

  template <class F>
  void each(F f) {
    for (at::Tensor* t : {&sum_TC, &mean_T, &rstd_T, &weight_C, &bias_C}) {
      f(*t);
    }
  }
};

/// Calls f(E{}, kernels, stream) for sublayers of `dtype` on `device`.
template <class F>
void with_kernels(at::ScalarType dtype, at::Device device, F f) {
  kernels::with_element(dtype, [&](auto element) {
    using E = decltype(element);
    f(element,
      kernels::row_for<E>(kernels::norm_kernels, device),
      kernels::stream_of(device));
  });
}

/// Where a gradient that came belongs in the kernel's arguments; what came in
/// another layout, copied.
at::Tensor dense(const at::Tensor& gradient) {
  return gradient.defined() ? gradient.contiguous() : gradient;
}

struct ResidualNorm : torch::autograd::Function<ResidualNorm> {
  /// LN(s), s where there is a y, s rounded where it is asked for.
  static variable_list forward(AutogradContext* context,
                               const at::Tensor& x_TC,
                               const std::optional<at::Tensor>& y_TC,
                               const at::Tensor& weight_C,
                               const std::optional<at::Tensor>& bias_C,
                               at::ScalarType dtype,
                               bool rounds) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const c10::OptionalDeviceGuard guard(x_TC.device());
    context->set_materialize_grads(false);
    Call call{.dtype = dtype, .adds = y_TC.has_value(), .rounds = rounds};
    const at::Tensor y = y_TC ? y_TC->contiguous() : at::Tensor();
    const auto narrow = x_TC.options().dtype(dtype);
    call.sum_TC = y.defined() ? at::empty_like(x_TC) : x_TC;
    call.mean_T = at::empty({x_TC.size(0)}, x_TC.options());
    call.rstd_T = at::empty_like(call.mean_T);
    call.weight_C = weight_C;
    call.bias_C = bias_C.value_or(at::Tensor());
    const at::Tensor z_TC = at::empty(x_TC.sizes(), narrow);
    const at::Tensor rounded_TC =
        rounds ? at::empty(x_TC.sizes(), narrow) : at::Tensor();
    with_kernels(dtype,
                 x_TC.device(),
                 [&]<class E>(E, const auto& kernel, void* stream) {
                   using T = kernels::Compute<E>;
                   kernel.forward(
                       stream,
                       {.x = pointer<T>(x_TC),
                        .addend = pointer<E>(y),
                        .weight = pointer<T>(weight_C),
                        .bias = pointer<T>(call.bias_C),
                        .rows = x_TC.size(0),
                        .width = x_TC.size(1),
                        .sum = call.adds ? pointer<T>(call.sum_TC) : nullptr,
                        .rounded = pointer<E>(rounded_TC),
                        .result = pointer<E>(z_TC),
                        .mean = pointer<T>(call.mean_T),
                        .rstd = pointer<T>(call.rstd_T)});
                 });
    variable_list outputs{z_TC};
    if (call.adds) outputs.push_back(call.sum_TC);
    if (rounds) outputs.push_back(rounded_TC);
    dist::keep(*context, std::move(call));
    return outputs;
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    require(!at::GradMode::is_enabled(),
            "norm: a gradient of its gradient was asked for; it is "
            "differentiable once");
    const auto call = dist::kept<Call>(*context);
    const at::Tensor& s_TC = call.sum_TC;
    const c10::OptionalDeviceGuard guard(s_TC.device());
    const auto narrow = s_TC.options().dtype(call.dtype);
    const std::int64_t rows = s_TC.size(0), width = s_TC.size(1);
    const at::Tensor dz_TC = grads[0].defined()
                                 ? grads[0].contiguous()
                                 : at::zeros(s_TC.sizes(), narrow);
    const at::Tensor ds_TC = call.adds ? dense(grads[1]) : at::Tensor();
    const at::Tensor drounded_TC =
        call.rounds ? dense(grads[call.adds ? 2 : 1]) : at::Tensor();
    const at::Tensor dx_TC = at::empty_like(s_TC);
    const at::Tensor dy_TC =
        call.adds ? at::empty(s_TC.sizes(), narrow) : at::Tensor();
    const dist::GradientSlot weight(call.weight_C, /*in_place=*/false);
    const dist::GradientSlot bias(call.bias_C, /*in_place=*/false);
    const at::Tensor partial =
        at::empty({kernels::norm_partial_sums(rows, width)}, s_TC.options());
    with_kernels(call.dtype,
                 s_TC.device(),
                 [&]<class E>(E, const auto& kernel, void* stream) {
                   using T = kernels::Compute<E>;
                   kernel.backward(stream,
                                   {.sum = pointer<T>(s_TC),
                                    .mean = pointer<T>(call.mean_T),
                                    .rstd = pointer<T>(call.rstd_T),
                                    .weight = pointer<T>(call.weight_C),
                                    .grad_result = pointer<E>(dz_TC),
                                    .grad_sum = pointer<T>(ds_TC),
                                    .grad_rounded = pointer<E>(drounded_TC),
                                    .rows = rows,
                                    .width = width,
                                    .grad_x = pointer<T>(dx_TC),
                                    .grad_addend = pointer<E>(dy_TC),
                                    .grad_weight = pointer<T>(weight.target()),
                                    .grad_bias = pointer<T>(bias.target()),
                                    .add_weight = weight.accumulate(),
                                    .add_bias = bias.accumulate(),
                                    .partial = pointer<T>(partial)});
                 });
    return {dx_TC, dy_TC, weight.finish(), bias.finish(), {}, {}};
  }
};

}  // namespace

bool fuses_residual_norm(at::Device device,
                         at::ScalarType stream,
                         at::ScalarType dtype,
                         std::int64_t width) {
  if (!kernels::like_gpu(device) || stream != wide_type(dtype)) return false;
  bool fits = false;
  kernels::with_element(dtype, [&](auto element) {
    fits = width <= kernels::kNormWidth<decltype(element)>;
  });
  return fits;
}

Normed residual_norm(const at::Tensor& x,
                     const at::Tensor& y,
                     const at::Tensor& weight,
                     const at::Tensor& bias,
                     at::ScalarType dtype,
                     bool rounded) {
  MUMOE_CHECK(x.dim() == 2 && x.is_contiguous() &&
                  weight.numel() == x.size(1) &&
                  weight.scalar_type() == x.scalar_type() &&
                  (!y.defined() ||
                   (y.sizes() == x.sizes() && y.scalar_type() == dtype)),
              "norm of a stream {} {} with weights {} beside {}",
              x.sizes(),
              x.scalar_type(),
              weight.sizes(),
              dtype);
  const auto given = [](const at::Tensor& t) {
    return t.defined() ? std::optional(t) : std::nullopt;
  };
  const variable_list out =
      ResidualNorm::apply(x, given(y), weight, given(bias), dtype, rounded);
  return {.sum = y.defined() ? out[1] : x,
          .rounded = rounded ? out.back() : at::Tensor(),
          .result = out[0]};
}

}  // namespace mumoe

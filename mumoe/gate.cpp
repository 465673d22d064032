#include "mumoe/gate.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "dist/node_state.h"
#include "dist/torch_text.h"
#include "mumoe/gate_activation.h"
#include "mumoe/gate_batch.h"

// Shapes: T rows (all leading dims of the logits), I inputs, N experts.

namespace mumoe {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// One call of a gate, as backward needs it.
struct Call {
  GateConfig config;
  dist::Communicator* group = nullptr;
  bool training = false;
  GemmLibrary library = {};

  Tensor x_TI = {}, weight_IN = {};  ///< Undefined: from logits.
  Tensor logits_TN = {}, a_TN = {};
  BatchMoments moments = {};  ///< Of a batch norm.

  template <class F>
  void each(F f) {
    for (Tensor* t : {&x_TI, &weight_IN, &logits_TN, &a_TN}) f(*t);
    for (Tensor* t : {&moments.mean, &moments.rstd, &moments.count}) f(*t);
  }
  /// φ alone, after the batch norm.
  GateConfig without_norm() const {
    GateConfig result = config;
    result.norm = GateNorm::none;
    return result;
  }
  bool by_batch() const { return config.norm == GateNorm::batch; }
};

Call call_of(const GateConfig& config,
             const BatchStatistics* statistics,
             std::int64_t experts) {
  config.validate(experts);
  if (config.norm != GateNorm::batch) return {.config = config};
  MUMOE_CHECK(statistics != nullptr,
              "A gate with batch norm needs its statistics.");
  return {.config = config,
          .group = statistics->group,
          .training = statistics->training};
}

/// a of the call's logits, which is kept with the moments.
Tensor coefficients(Call& call, const BatchStatistics* statistics) {
  if (!call.by_batch()) {
    call.a_TN = gate_rows(call.logits_TN, call.config);
    return call.a_TN;
  }
  const auto [z_TN, moments] = batch_normalise(call.logits_TN, *statistics);
  call.moments = moments;
  call.a_TN =
      gate_rows(z_TN, call.without_norm()).to(call.logits_TN.scalar_type());
  return call.a_TN;
}

/// dℓ from da, of any shape with as many elements.
Tensor logits_gradient(const Call& call, const Tensor& grad_a) {
  require(!at::GradMode::is_enabled(),
          "gate: a gradient of its gradient was asked for; it is "
          "differentiable once");
  const Tensor& logits_TN = call.logits_TN;
  const Tensor grad_a_TN = grad_a.reshape(logits_TN.sizes()).contiguous();
  if (!call.by_batch()) {
    return gate_rows_backward(logits_TN, call.a_TN, grad_a_TN, call.config);
  }
  const Tensor z_TN = batch_normalise_with(logits_TN, call.moments);
  const auto type = z_TN.scalar_type();
  const Tensor d_TN = gate_rows_backward(z_TN,
                                         call.a_TN.to(type),
                                         grad_a_TN.to(type),
                                         call.without_norm());
  return batch_normalise_backward(z_TN,
                                  d_TN,
                                  call.moments,
                                  call.group,
                                  call.training)
      .to(logits_TN.scalar_type());
}

struct FromLogits : torch::autograd::Function<FromLogits> {
  static Tensor forward(AutogradContext* context,
                        const Tensor& logits,
                        Call call,
                        const BatchStatistics* statistics) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const c10::OptionalDeviceGuard guard(logits.device());
    call.logits_TN = logits.reshape({-1, logits.size(-1)}).contiguous();
    const Tensor a_TN = coefficients(call, statistics);
    dist::keep(*context, std::move(call));
    return a_TN.view(logits.sizes());
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const auto call = dist::kept<Call>(*context);
    const c10::OptionalDeviceGuard guard(call.logits_TN.device());
    return {logits_gradient(call, grads[0]).view(grads[0].sizes()), {}, {}};
  }
};

struct FromInputs : torch::autograd::Function<FromInputs> {
  static Tensor forward(AutogradContext* context,
                        const Tensor& x_TI,
                        const Tensor& weight_IN,
                        Call call,
                        const BatchStatistics* statistics) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const c10::OptionalDeviceGuard guard(x_TI.device());
    call.x_TI = x_TI;
    call.weight_IN = weight_IN;
    call.logits_TN =
        mm(x_TI.to(weight_IN.scalar_type()), weight_IN, call.library);
    const Tensor a_TN = coefficients(call, statistics);
    dist::keep(*context, std::move(call));
    return a_TN;
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const auto call = dist::kept<Call>(*context);
    const c10::OptionalDeviceGuard guard(call.x_TI.device());
    const Tensor grad_TN = logits_gradient(call, grads[0]);
    Tensor grad_x_TI, grad_weight_IN;
    if (context->needs_input_grad(0)) {
      grad_x_TI = mm(grad_TN, call.weight_IN.t(), call.library)
                      .to(call.x_TI.scalar_type());
    }
    if (context->needs_input_grad(1)) {
      const Tensor rounded_TI = call.x_TI.to(call.weight_IN.scalar_type());
      grad_weight_IN = product_gradient(call.weight_IN,
                                        rounded_TI.t(),
                                        grad_TN,
                                        call.library);
    }
    return {grad_x_TI, grad_weight_IN, {}, {}};
  }
};

void check(const Tensor& input, at::ScalarType dtype) {
  MUMOE_CHECK(input.is_cpu() || input.is_cuda() || input.is_meta(),
              "The gate's input is on {}",
              input.device());
  MUMOE_CHECK(
      dtype == at::kFloat || dtype == at::kDouble || dtype == at::kBFloat16,
      "gate: dtype {}, expected fp32, fp64 or bf16",
      at::toString(dtype));
}

}  // namespace

std::string_view to_string(GateActivation activation) {
  switch (activation) {
    case GateActivation::entmax15:
      return "entmax15";
    case GateActivation::softmax:
      return "softmax";
    case GateActivation::top_k:
      return "top_k";
  }
  return "?";
}

std::string_view to_string(GateNorm norm) {
  switch (norm) {
    case GateNorm::layer:
      return "layer";
    case GateNorm::batch:
      return "batch";
    case GateNorm::none:
      return "none";
  }
  return "?";
}

std::string to_string(const GateConfig& config) {
  const std::string k = config.activation == GateActivation::top_k
                            ? fmt::format(" (k = {})", config.top_k)
                            : "";
  return fmt::format(
      "{}{}, {} norm",
      to_string(config.activation),
      k,
      config.norm == GateNorm::none ? "no" : to_string(config.norm));
}

void GateConfig::validate(std::int64_t experts) const {
  if (activation != GateActivation::top_k) return;
  require(top_k >= 1 && top_k <= experts,
          "gate: top_k is {}, expected 1 to the number of experts, {}",
          top_k,
          experts);
}

Tensor gate(const Tensor& x,
            const Tensor& weight,
            const GateConfig& config,
            GemmLibrary library,
            BatchStatistics* statistics) {
  MUMOE_CHECK(x.dim() == 2 && weight.dim() == 2 &&
                  x.size(1) == weight.size(0) && weight.size(1) >= 1,
              "gate of x {} and weight {}",
              x.sizes(),
              weight.sizes());
  check(x, weight.scalar_type());
  Call call = call_of(config, statistics, weight.size(1));
  call.library = library;
  return FromInputs::apply(x, weight, std::move(call), statistics);
}

Tensor gate_coefficients(const Tensor& logits,
                         const GateConfig& config,
                         BatchStatistics* statistics) {
  MUMOE_CHECK(logits.dim() >= 1 && logits.size(-1) >= 1,
              "Gate logits have shape {}",
              logits.sizes());
  check(logits, logits.scalar_type());
  return FromLogits::apply(logits,
                           call_of(config, statistics, logits.size(-1)),
                           statistics);
}

}  // namespace mumoe

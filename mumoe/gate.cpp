#include "mumoe/gate.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
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

  /// φ alone, after the batch norm.
  GateConfig without_norm() const {
    GateConfig result = config;
    result.norm = GateNorm::none;
    return result;
  }
  bool by_batch() const { return config.norm == GateNorm::batch; }
};

void store(AutogradContext* context, const Call& call) {
  auto& saved = context->saved_data;
  saved["activation"] = static_cast<std::int64_t>(call.config.activation);
  saved["norm"] = static_cast<std::int64_t>(call.config.norm);
  saved["top_k"] = call.config.top_k;
  saved["group"] = reinterpret_cast<std::int64_t>(call.group);
  saved["training"] = call.training;
}

Call stored_call(AutogradContext* context) {
  auto& saved = context->saved_data;
  const auto number = [&](const char* key) { return saved[key].toInt(); };
  return {{static_cast<GateActivation>(number("activation")),
           static_cast<GateNorm>(number("norm")),
           number("top_k")},
          reinterpret_cast<dist::Communicator*>(number("group")),
          saved["training"].toBool()};
}

Call call_of(const GateConfig& config,
             const BatchStatistics* statistics,
             std::int64_t experts) {
  config.validate(experts);
  if (config.norm != GateNorm::batch) return {config};
  MUMOE_CHECK(statistics != nullptr,
              "A gate with batch norm needs its statistics.");
  return {config, statistics->group, statistics->training};
}

/// a, and the batch norm's moments where there is one.
struct Coefficients {
  Tensor a_TN;
  BatchMoments moments;
};

Coefficients forward(const Tensor& logits_TN,
                     const Call& call,
                     const BatchStatistics* statistics) {
  if (!call.by_batch()) return {gate_rows(logits_TN, call.config), {}};
  const auto [z_TN, moments] = batch_normalise(logits_TN, *statistics);
  const Tensor a_TN = gate_rows(z_TN, call.without_norm());
  return {a_TN.to(logits_TN.scalar_type()), moments};
}

Tensor backward(const Tensor& logits_TN,
                const Coefficients& result,
                const Tensor& grad_a_TN,
                const Call& call) {
  if (!call.by_batch()) {
    return gate_rows_backward(logits_TN, result.a_TN, grad_a_TN, call.config);
  }
  const Tensor z_TN = batch_normalise_with(logits_TN, result.moments);
  const auto type = z_TN.scalar_type();
  const Tensor d_TN = gate_rows_backward(z_TN,
                                         result.a_TN.to(type),
                                         grad_a_TN.to(type),
                                         call.without_norm());
  return batch_normalise_backward(z_TN,
                                  d_TN,
                                  result.moments,
                                  call.group,
                                  call.training)
      .to(logits_TN.scalar_type());
}

/// Saves what backward needs, `first` before it.
void save(AutogradContext* context,
          variable_list first,
          const Tensor& logits_TN,
          const Coefficients& result) {
  first.insert(first.end(),
               {logits_TN,
                result.a_TN,
                result.moments.mean,
                result.moments.rstd,
                result.moments.count});
  context->save_for_backward(std::move(first));
}

/// dℓ from da, where logits and what follows were saved at `at`.
Tensor saved_backward(AutogradContext* context,
                      const variable_list& saved,
                      std::size_t at,
                      const Tensor& grad_a) {
  MUMOE_CHECK(!at::GradMode::is_enabled(),
              "The gate is differentiable once only.");
  const Tensor& logits_TN = saved[at];
  const Coefficients result{saved[at + 1],
                            {saved[at + 2], saved[at + 3], saved[at + 4]}};
  const Tensor grad_a_TN = grad_a.reshape(logits_TN.sizes()).contiguous();
  return backward(logits_TN, result, grad_a_TN, stored_call(context));
}

struct FromLogits : torch::autograd::Function<FromLogits> {
  static Tensor forward(AutogradContext* context,
                        const Tensor& logits,
                        const Call& call,
                        const BatchStatistics* statistics) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const c10::OptionalDeviceGuard guard(logits.device());
    const Tensor logits_TN = logits.reshape({-1, logits.size(-1)}).contiguous();
    const Coefficients result = mumoe::forward(logits_TN, call, statistics);
    store(context, call);
    save(context, {}, logits_TN, result);
    return result.a_TN.view(logits.sizes());
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const c10::OptionalDeviceGuard guard(saved[0].device());
    const Tensor grad = saved_backward(context, saved, 0, grads[0]);
    return {grad.view(grads[0].sizes()), {}, {}};
  }
};

struct FromInputs : torch::autograd::Function<FromInputs> {
  static Tensor forward(AutogradContext* context,
                        const Tensor& x_TI,
                        const Tensor& weight_IN,
                        const Call& call,
                        const BatchStatistics* statistics,
                        GemmLibrary library) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const c10::OptionalDeviceGuard guard(x_TI.device());
    const Tensor logits_TN =
        mm(x_TI.to(weight_IN.scalar_type()), weight_IN, library);
    const Coefficients result = mumoe::forward(logits_TN, call, statistics);
    store(context, call);
    context->saved_data["library"] = static_cast<std::int64_t>(library);
    save(context, {x_TI, weight_IN}, logits_TN, result);
    return result.a_TN;
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const Tensor &x_TI = saved[0], &weight_IN = saved[1];
    const c10::OptionalDeviceGuard guard(x_TI.device());
    const auto library =
        static_cast<GemmLibrary>(context->saved_data["library"].toInt());
    const Tensor grad_TN = saved_backward(context, saved, 2, grads[0]);
    Tensor grad_x_TI, grad_weight_IN;
    if (context->needs_input_grad(0)) {
      grad_x_TI = mm(grad_TN, weight_IN.t(), library).to(x_TI.scalar_type());
    }
    if (context->needs_input_grad(1)) {
      const Tensor rounded_TI = x_TI.to(weight_IN.scalar_type());
      grad_weight_IN = mm(rounded_TI.t(), grad_TN, library);
    }
    return {grad_x_TI, grad_weight_IN, {}, {}, {}};
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
  const Call call = call_of(config, statistics, weight.size(1));
  return FromInputs::apply(x, weight, call, statistics, library);
}

Tensor gate_coefficients(const Tensor& logits,
                         const GateConfig& config,
                         BatchStatistics* statistics) {
  MUMOE_CHECK(logits.dim() >= 1 && logits.size(-1) >= 1,
              "Gate logits have shape {}",
              logits.sizes());
  check(logits, logits.scalar_type());
  const Call call = call_of(config, statistics, logits.size(-1));
  return FromLogits::apply(logits, call, statistics);
}

}  // namespace mumoe

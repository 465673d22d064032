#include "mumoe/gate.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "base/cpu.h"
#include "base/error.h"
#include "mumoe/kernels/current_stream.h"
#include "mumoe/kernels/gate.h"
#include "mumoe/kernels/gate_cuda.h"

// Shapes: T rows (all leading dims of the logits), N experts.

namespace mumoe {
namespace {

using at::Tensor;
using kernels::Bf16;

/// Values that a thread should have at least, to be worth starting.
constexpr std::int64_t kGrain = 16384;

/// Calls `f(E{})` with the kernels' element type for `dtype`.
template <class F>
void with_element(at::ScalarType dtype, F f) {
  switch (dtype) {
    case at::kFloat:
      return f(float{});
    case at::kDouble:
      return f(double{});
    case at::kBFloat16:
      return f(Bf16{});
    default:
      fail<InternalError>("gate: logits are ",
                          at::toString(dtype),
                          ", expected fp32, fp64 or bf16");
  }
}

template <class E>
E* data(const Tensor& tensor) {
  return static_cast<E*>(tensor.data_ptr());
}

/// Calls `f(first, last)` for ranges that cover all rows, on the threads of
/// the CPU.
template <class F>
void over_rows(std::int64_t rows, std::int64_t experts, F f) {
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / experts);
  at::parallel_for(0, rows, grain, f);
}

void forward_into(const Tensor& a_TN, const Tensor& logits_TN, GateNorm norm) {
  const std::int64_t experts = logits_TN.size(-1);
  const std::int64_t rows = logits_TN.numel() / experts;
  with_element(logits_TN.scalar_type(), [&](auto element) {
    using E = decltype(element);
    const E* logits = data<E>(logits_TN);
    E* a = data<E>(a_TN);
    if (logits_TN.is_cuda()) {
      kernels::gate_forward_cuda(logits,
                                 a,
                                 rows,
                                 experts,
                                 norm,
                                 kernels::current_stream(logits_TN.device()));
      return;
    }
    over_rows(rows, experts, [&](std::int64_t first, std::int64_t last) {
      const std::int64_t at = first * experts;
      kernels::gate_forward(best_isa(),
                            logits + at,
                            a + at,
                            last - first,
                            experts,
                            norm);
    });
  });
}

void backward_into(const Tensor& grad_logits_TN,
                   const Tensor& logits_TN,
                   const Tensor& a_TN,
                   const Tensor& grad_a_TN,
                   GateNorm norm) {
  const std::int64_t experts = logits_TN.size(-1);
  const std::int64_t rows = logits_TN.numel() / experts;
  with_element(logits_TN.scalar_type(), [&](auto element) {
    using E = decltype(element);
    const E* logits = data<E>(logits_TN);
    const E* a = data<E>(a_TN);
    const E* grad_a = data<E>(grad_a_TN);
    E* grad_logits = data<E>(grad_logits_TN);
    if (logits_TN.is_cuda()) {
      kernels::gate_backward_cuda(logits,
                                  a,
                                  grad_a,
                                  grad_logits,
                                  rows,
                                  experts,
                                  norm,
                                  kernels::current_stream(logits_TN.device()));
      return;
    }
    over_rows(rows, experts, [&](std::int64_t first, std::int64_t last) {
      const std::int64_t at = first * experts;
      kernels::gate_backward(best_isa(),
                             logits + at,
                             a + at,
                             grad_a + at,
                             grad_logits + at,
                             last - first,
                             experts,
                             norm);
    });
  });
}

class Gate : public torch::autograd::Function<Gate> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context,
                        const Tensor& logits,
                        bool layer_norm) {
    const GateNorm norm = layer_norm ? GateNorm::layer : GateNorm::none;
    const c10::OptionalDeviceGuard guard(logits.device());
    const Tensor logits_TN = logits.contiguous();
    const Tensor a_TN = at::empty_like(logits_TN);
    forward_into(a_TN, logits_TN, norm);
    context->save_for_backward({logits_TN, a_TN});
    context->saved_data["layer_norm"] = layer_norm;
    return a_TN;
  }

  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context,
      const torch::autograd::variable_list& grads) {
    MUMOE_CHECK(!at::GradMode::is_enabled(),
                "The gate is differentiable once only.");
    const auto saved = context->get_saved_variables();
    const bool layer_norm = context->saved_data["layer_norm"].toBool();
    const c10::OptionalDeviceGuard guard(saved[0].device());
    const Tensor grad_a_TN = grads[0].contiguous();
    const Tensor grad_logits_TN = at::empty_like(saved[0]);
    backward_into(grad_logits_TN,
                  saved[0],
                  saved[1],
                  grad_a_TN,
                  layer_norm ? GateNorm::layer : GateNorm::none);
    return {grad_logits_TN, Tensor()};
  }
};

}  // namespace

Tensor gate_coefficients(const Tensor& logits, GateNorm norm) {
  MUMOE_CHECK(logits.dim() >= 1 && logits.size(-1) >= 1,
              "Gate logits have shape ",
              logits.sizes());
  MUMOE_CHECK(logits.is_cpu() || logits.is_cuda(),
              "Gate logits are on ",
              logits.device());
  return Gate::apply(logits, norm == GateNorm::layer);
}

at::Tensor gate(const at::Tensor& x,
                const at::Tensor& weight,
                const GateConfig& c,
                GemmLibrary,
                BatchStatistics*) {
  return gate_coefficients(at::mm(x.to(weight.scalar_type()), weight), c.norm);
}
}  // namespace mumoe

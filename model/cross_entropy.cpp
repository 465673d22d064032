// Shapes: T tokens, C width, V vocabulary, S tokens of one chunk.
#include "model/cross_entropy.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "base/error.h"

namespace mumoe::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Elements of one chunk of fp32 logits: 64 MiB.
constexpr std::int64_t kChunkElements = std::int64_t{1} << 24;

struct LinearCrossEntropy : torch::autograd::Function<LinearCrossEntropy> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& hidden,
                            const at::Tensor& weight,
                            const at::Tensor& targets,
                            double scale,
                            bool wants_gradient,
                            std::int64_t gemm) {
    const auto library = static_cast<GemmLibrary>(gemm);
    at::AutoDispatchBelowADInplaceOrView guard;
    const std::int64_t tokens = hidden.size(0);
    const auto wide =
        hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const std::int64_t chunk =
        std::max<std::int64_t>(1, kChunkElements / weight.size(0));
    at::Tensor loss = at::zeros({}, hidden.options().dtype(wide));
    at::Tensor dh, dw;
    if (wants_gradient) dh = at::empty_like(hidden);
    for (std::int64_t first = 0; first < tokens; first += chunk) {
      const std::int64_t count = std::min(chunk, tokens - first);
      const at::Tensor h_SC = hidden.narrow(0, first, count);
      const at::Tensor target_S1 = targets.narrow(0, first, count).unsqueeze(1);
      const at::Tensor log_p_SV =
          at::log_softmax(mm(h_SC, weight.t(), library), 1, wide);
      loss.sub_(log_p_SV.gather(1, target_S1).sum());
      if (!wants_gradient) continue;
      const at::Tensor p_SV = log_p_SV.exp_();
      p_SV.scatter_add_(1,
                        target_S1,
                        at::full({count, 1}, -1.0, p_SV.options()));
      const at::Tensor dlogits_SV = p_SV.mul_(scale).to(hidden.scalar_type());
      mm_into(dh.narrow(0, first, count), dlogits_SV, weight, false, library);
      const at::Tensor dw_VC = mm(dlogits_SV.t(), h_SC, library);
      dw = dw.defined() ? dw.add_(dw_VC) : dw_VC.to(wide);
    }
    if (wants_gradient) context->save_for_backward({dh, dw});
    return loss.mul_(scale);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& dh = saved[0];
    const at::Tensor& dw = saved[1];
    return {dh * grads[0].to(dh.scalar_type()),
            (dw * grads[0]).to(dh.scalar_type()),
            {},
            {},
            {},
            {}};
  }
};

}  // namespace

at::Tensor linear_cross_entropy(const at::Tensor& hidden,
                                const at::Tensor& weight,
                                const at::Tensor& targets,
                                double scale,
                                GemmLibrary gemm) {
  MUMOE_CHECK(hidden.dim() == 2 && weight.dim() == 2 &&
                  hidden.size(1) == weight.size(1),
              "hidden ",
              hidden.sizes(),
              ", weight ",
              weight.sizes());
  MUMOE_CHECK(targets.numel() == hidden.size(0),
              targets.numel(),
              " targets for ",
              hidden.size(0),
              " tokens");
  const bool wants_gradient =
      at::GradMode::is_enabled() &&
      (hidden.requires_grad() || weight.requires_grad());
  return LinearCrossEntropy::apply(hidden,
                                   weight,
                                   targets.reshape({-1}),
                                   scale,
                                   wants_gradient,
                                   static_cast<std::int64_t>(gemm));
}

}  // namespace mumoe::model

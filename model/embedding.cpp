#include "model/embedding.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace mumoe::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Embed : torch::autograd::Function<Embed> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& weight,
                            const at::Tensor& ids) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({ids});
    context->saved_data["rows"] = weight.size(0);
    return at::embedding(weight, ids);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto ids = context->get_saved_variables()[0];
    const auto dtype = grads[0].scalar_type();
    const auto wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor sum =
        at::embedding_dense_backward(grads[0].to(wide),
                                     ids,
                                     context->saved_data["rows"].toInt(),
                                     /*padding_idx=*/-1,
                                     /*scale_grad_by_freq=*/false);
    return {sum.to(dtype), {}};
  }
};

}  // namespace

at::Tensor embed(const at::Tensor& weight, const at::Tensor& ids) {
  return Embed::apply(weight, ids);
}

}  // namespace mumoe::model

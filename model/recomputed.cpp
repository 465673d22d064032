#include "model/recomputed.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "dist/node_state.h"

namespace mumoe::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// One call: what it is given.
struct Call {
  std::vector<at::Tensor> inputs;
  Part part;

  template <class F>
  void each(F f) {
    for (at::Tensor& input : inputs) f(input);
  }
};

struct Recomputed : torch::autograd::Function<Recomputed> {
  static variable_list forward(AutogradContext* context,
                               at::TensorList inputs,
                               Part part) {
    variable_list outputs = part(inputs.vec(), /*again=*/false);
    dist::keep(*context, Call{inputs.vec(), std::move(part)});
    return outputs;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto call = dist::kept<Call>(*context);
    variable_list inputs, outputs, given, result;
    for (const at::Tensor& input : call.inputs) {
      inputs.push_back(input.detach().set_requires_grad(true));
    }
    {
      const at::AutoGradMode recording(true);
      outputs = call.part(inputs, /*again=*/true);
    }
    variable_list roots;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!grads[i].defined()) continue;
      roots.push_back(outputs[i]);
      given.push_back(grads[i]);
    }
    outputs.clear();
    torch::autograd::backward(roots, given);
    for (const at::Tensor& input : inputs) result.push_back(input.grad());
    result.emplace_back();
    return result;
  }
};

}  // namespace

std::vector<at::Tensor> recomputed(const std::vector<at::Tensor>& inputs,
                                   Part part) {
  return Recomputed::apply(at::TensorList(inputs), std::move(part));
}

}  // namespace mumoe::model

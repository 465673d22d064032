#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <optional>

namespace mumoe::study {

/// Calls `f(tensor)` for every defined tensor of `value`, an argument or a
/// result of an operator of LibTorch.
template <class F>
void each_tensor(const c10::IValue& value, F f) {
  const auto one = [&](const at::Tensor& tensor) {
    if (tensor.defined()) f(tensor);
  };
  if (value.isTensor()) return one(value.toTensor());
  if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) one(tensor);
  } else if (value.isOptionalTensorList()) {
    for (const std::optional<at::Tensor>& tensor :
         value.toOptionalTensorVector()) {
      if (tensor) one(*tensor);
    }
  }
}

}  // namespace mumoe::study

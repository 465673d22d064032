#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace mumoe::fakes {

/// The memory of `tensor`, as its kernels see it.
at::Tensor view_for_kernels(const at::Tensor& tensor);

/// What `tensor` holds of a GPU's memory; 0 for one of the CPU.
std::int64_t gpu_bytes(const at::Tensor& tensor);

}  // namespace mumoe::fakes

#pragma once

#include <cstdint>

#include "mumoe/kernels/bf16.h"
#include "mumoe/kernels/gate_norm.h"

// The gate on a GPU; free of LibTorch and of CUDA's headers. Equations,
// element types and the treatment of NaN and ±∞ are those of
// mumoe/kernels/gate.h; sums are added in another order.

namespace mumoe::kernels {

/// As `gate_forward`, for device memory. Queued on `stream` (a cudaStream_t) of
/// the current device; does not wait. Throws `InternalError` when the launch
/// fails, and in a build without CUDA.
template <class E>
void gate_forward_cuda(const E* logits,
                       E* coefficients,
                       std::int64_t rows,
                       std::int64_t experts,
                       GateNorm norm,
                       void* stream);

/// As `gate_backward`, for device memory; as above otherwise.
template <class E>
void gate_backward_cuda(const E* logits,
                        const E* coefficients,
                        const E* grad_coefficients,
                        E* grad_logits,
                        std::int64_t rows,
                        std::int64_t experts,
                        GateNorm norm,
                        void* stream);

}  // namespace mumoe::kernels

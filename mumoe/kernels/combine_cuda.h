#pragma once

#include <cstdint>

#include "mumoe/kernels/bf16.h"
#include "mumoe/kernels/combine_shape.h"

// The combination on a GPU; free of LibTorch and of CUDA's headers. Equations
// and element types are those of mumoe/kernels/combine.h. Nothing is added
// atomically: the same inputs give the same bits every time.

namespace mumoe::kernels {

/// Most values that a mixed matrix, or a product of them from the left, may
/// have on a GPU (ring and kronecker: G is the last of these products), and
/// that all of them together may have. They lie in a block's shared memory.
constexpr std::int64_t kCombineMaxMatrix = 1024;
constexpr std::int64_t kCombineMaxMatrices = 2048;

/// As `combine_forward` for all of `rows`, in device memory. Widths and counts
/// of experts below 2³⁰, 16-byte accesses where they and the addresses allow.
/// Queued on `stream` (a cudaStream_t) of the current device; does not wait.
/// Throws `InputError` for matrices above the limits, `InternalError` when the
/// launch fails and in a build without CUDA.
template <class E>
void combine_forward_cuda(const CombineShape& shape,
                          const CombineForward<E>& matrices,
                          std::int64_t rows,
                          void* stream);

/// As `combine_backward`; as above otherwise. da_e is formed from dm_e as
/// stored, that is, after rounding.
template <class E>
void combine_backward_cuda(const CombineShape& shape,
                           const CombineBackward<E>& matrices,
                           std::int64_t rows,
                           void* stream);

}  // namespace mumoe::kernels

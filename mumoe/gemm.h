#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>

namespace mumoe {

/// Which library multiplies fp32 matrices on the CPU. On AMD oneDNN takes half
/// of MKL's time; on Intel they are about as fast. bf16 is always oneDNN's,
/// fp64 MKL's, and GPUs have cuBLAS.
enum class GemmLibrary { mkl, onednn };

std::string_view to_string(GemmLibrary library);

/// Whether this LibTorch has fp32 products by `library`.
bool offers(GemmLibrary library);

/// The one to take where nothing was measured: oneDNN on AMD's CPUs, where it
/// is offered, else MKL. Always the same on one machine.
///
/// The two round differently: ranks that hold replicas, and a run and its
/// continuation, must use the same one.
GemmLibrary preferred_gemm_library();

/// Tells cuBLAS, for this process, to add the parts of a long product of bf16
/// in fp32, not in bf16; every product on a GPU does so.
void keep_fp32_sums();

/// a [M, K] · b [K, N] → contiguous [M, N]. Both of one dtype and device;
/// transposed views cost nothing. Not differentiable.
at::Tensor mm(const at::Tensor& a, const at::Tensor& b, GemmLibrary library);

/// The same into a contiguous `out` [M, N], or added to what it holds. Sums are
/// in fp32 for bf16, and rounded once when they are stored. On a GPU `out` may
/// be fp32 where a and b are bf16, and its rows may be apart.
void mm_into(const at::Tensor& out,
             const at::Tensor& a,
             const at::Tensor& b,
             bool accumulate,
             GemmLibrary library);

/// What a node of autograd returns as the gradient of `weight`, whose elements
/// the product a [M, K] · b [K, N] has: the product, or nothing where it was
/// added to an open sink of the weight (`dist::GradientSink`).
at::Tensor product_gradient(const at::Tensor& weight,
                            const at::Tensor& a,
                            const at::Tensor& b,
                            GemmLibrary library);

/// x [..., I] · weightᵀ + bias → [..., O]; `weight` [O, I], its two dims maybe
/// as several, `bias` [O] or undefined. Differentiable once.
at::Tensor linear(const at::Tensor& x,
                  const at::Tensor& weight,
                  const at::Tensor& bias,
                  GemmLibrary library);

}  // namespace mumoe

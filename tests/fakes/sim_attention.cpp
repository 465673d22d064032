// Attention in bf16 as CUDA does it: one fused kernel forward and a few
// backward, instead of the products and the softmax of LibTorch's composition.

#include <ATen/ATen.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <tuple>

#include "tests/fakes/sim_device.h"
#include "tests/fakes/sim_gpu.h"
#include "tests/fakes/sim_memory.h"
#include "tests/fakes/sim_tensors.h"

namespace mumoe::fakes {
namespace {

/// The fused kernel takes bf16 alone, as CUDA's.
std::int64_t choose(const at::Tensor& query,
                    const at::Tensor&,
                    const at::Tensor&,
                    const std::optional<at::Tensor>& mask,
                    double,
                    bool,
                    std::optional<double>,
                    bool) {
  const bool fused = query.scalar_type() == at::kBFloat16 && !mask;
  return static_cast<std::int64_t>(fused ? sdp::SDPBackend::flash_attention
                                         : sdp::SDPBackend::math);
}

const bool chosen = [] {
  at::native::_fused_sdp_choice_stub.set_cuda_dispatch_ptr(&choose);
  return true;
}();

std::int64_t bytes_of(std::initializer_list<at::Tensor> tensors) {
  std::int64_t bytes = 0;
  for (const at::Tensor& tensor : tensors) bytes += gpu_bytes(tensor);
  return bytes;
}

using Forward = std::tuple<at::Tensor,
                           at::Tensor,
                           at::Tensor,
                           at::Tensor,
                           c10::SymInt,
                           c10::SymInt,
                           at::Tensor,
                           at::Tensor,
                           at::Tensor>;

/// q, k, v: [B, H, T, D]; y lies in memory as [B, T, H, D].
Forward forward(const at::Tensor& q,
                const at::Tensor& k,
                const at::Tensor& v,
                double dropout,
                bool causal,
                bool,
                std::optional<double> scale) {
  const c10::DeviceGuard guard(q.device());
  const at::Tensor y =
      at::empty({q.size(0), q.size(2), q.size(1), q.size(3)}, q.options())
          .transpose(1, 2);
  const at::Tensor lse = at::empty({q.size(0), q.size(1), q.size(2)},
                                   q.options().dtype(at::kFloat));
  set_last_operation("attention");
  count_operator("attention", 1, bytes_of({q, k, v, y, lse}));
  queue_work(q.device(),
             [=,
              q = view_for_kernels(q),
              k = view_for_kernels(k),
              v = view_for_kernels(v),
              y = view_for_kernels(y),
              lse = view_for_kernels(lse)] {
               const at::AutoDispatchBelowADInplaceOrView below;
               const auto found =
                   at::_scaled_dot_product_flash_attention_for_cpu(q,
                                                                   k,
                                                                   v,
                                                                   dropout,
                                                                   causal,
                                                                   {},
                                                                   scale);
               at::Tensor(y).copy_(std::get<0>(found));
               at::Tensor(lse).copy_(std::get<1>(found));
             });
  return {y, lse, {}, {}, q.sym_size(2), k.sym_size(2), {}, {}, {}};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(
    const at::Tensor& dy,
    const at::Tensor& q,
    const at::Tensor& k,
    const at::Tensor& v,
    const at::Tensor& y,
    const at::Tensor& lse,
    const at::Tensor&,
    const at::Tensor&,
    c10::SymInt,
    c10::SymInt,
    double dropout,
    bool causal,
    const at::Tensor&,
    const at::Tensor&,
    std::optional<double> scale) {
  const c10::DeviceGuard guard(q.device());
  const at::Tensor dq = at::empty_like(q), dk = at::empty_like(k),
                   dv = at::empty_like(v);
  set_last_operation("attention, backward");
  // Row sums of dy y, zeros for dq in fp32, dk and dv with dq, its rounding.
  count_operator(
      "attention, backward",
      4,
      bytes_of({dy, q, k, v, y, lse, dq, dk, dv}) + 2 * 2 * bytes_of({dq}));
  queue_work(q.device(),
             [=,
              dy = view_for_kernels(dy),
              q = view_for_kernels(q),
              k = view_for_kernels(k),
              v = view_for_kernels(v),
              y = view_for_kernels(y),
              lse = view_for_kernels(lse),
              dq = view_for_kernels(dq),
              dk = view_for_kernels(dk),
              dv = view_for_kernels(dv)] {
               const at::AutoDispatchBelowADInplaceOrView below;
               const auto found =
                   at::_scaled_dot_product_flash_attention_for_cpu_backward(
                       dy,
                       q,
                       k,
                       v,
                       y,
                       lse,
                       dropout,
                       causal,
                       {},
                       scale);
               at::Tensor(dq).copy_(std::get<0>(found));
               at::Tensor(dk).copy_(std::get<1>(found));
               at::Tensor(dv).copy_(std::get<2>(found));
             });
  return {dq, dk, dv};
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("_scaled_dot_product_flash_attention", forward);
  m.impl("_scaled_dot_product_flash_attention_backward", backward);
}

}  // namespace
}  // namespace mumoe::fakes

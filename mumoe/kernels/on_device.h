#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "base/error.h"
#include "mumoe/kernels/kernel_watch.h"
#include "mumoe/kernels/table.h"

// From LibTorch's tensors to the kernels: which row of a table, which element
// type, which pointers, on which threads or stream.

namespace mumoe::kernels {

/// The kernels for tensors on `device`; on a CPU those of `best_isa()`.
/// `InternalError` where they are not compiled in.
template <class E, template <class> class K, class... Es>
const K<E>& row_for(const Table<K, Es...>& table, c10::Device device) {
  if (kernel_watch != nullptr) kernel_watch->kernel(typeid(K<E>));
  if (device.is_cpu()) return table.template row<E>(best_isa());
  const Row<K, Es...>* row = nullptr;
  if (device.is_cuda()) row = table.cuda;
  if (device.is_meta()) row = table.meta;
  if (row == nullptr) {
    fail<InternalError>("no kernels for {}: not compiled in", device.str());
  }
  return row->template of<E>();
}

/// The stream on which LibTorch queues work for `device` (a cudaStream_t);
/// null where there is none. Without CUDA's headers.
inline void* stream_of(c10::Device device) {
  if (!device.is_cuda()) return nullptr;
  const c10::impl::VirtualGuardImpl guard(device.type());
  return guard.getStreamNativeHandle(guard.getStream(device));
}

/// Calls `f(first, last, stream)` for ranges that cover `count`: on a CPU on
/// its threads, with `grain` or more each; elsewhere once.
template <class F>
void over_ranges(c10::Device device,
                 std::int64_t count,
                 std::int64_t grain,
                 const F& f) {
  if (device.is_cpu()) {
    at::parallel_for(0,
                     count,
                     grain,
                     [&](std::int64_t first, std::int64_t last) {
                       f(first, last, nullptr);
                     });
    return;
  }
  f(0, count, stream_of(device));
}

/// Calls `f(E{})` with the kernels' element type for `dtype`. Throws
/// `InternalError` for another than fp32, fp64 and bf16.
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
      fail<InternalError>("no kernels for {}", dtype);
  }
}

/// The first value of a tensor whose rows may lie apart; null for an undefined
/// one and on the meta device.
template <class E>
E* first_value(const at::Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  if (kernel_watch != nullptr) kernel_watch->operand(tensor);
  if (tensor.is_meta()) return nullptr;
  MUMOE_CHECK(tensor.element_size() == static_cast<std::int64_t>(sizeof(E)));
  return static_cast<E*>(tensor.data_ptr());
}

/// The values of a contiguous tensor; null for an undefined one and on the meta
/// device.
template <class E>
E* pointer(const at::Tensor& tensor) {
  MUMOE_CHECK(!tensor.defined() || tensor.is_meta() || tensor.is_contiguous());
  return first_value<E>(tensor);
}

}  // namespace mumoe::kernels

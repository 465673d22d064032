// Memory, views and copies of tensors on simulated GPUs.
#include "tests/fakes/sim_tensors.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/NativeFunctions.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <optional>

#include "tests/fakes/sim_device.h"
#include "tests/fakes/sim_gpu.h"
#include "tests/fakes/sim_memory.h"

namespace mumoe::fakes {

at::Tensor view_for_kernels(const at::Tensor& tensor) {
  if (!tensor.is_cuda()) return tensor;
  const auto options = at::TensorOptions(tensor.scalar_type());
  if (tensor.numel() == 0) {
    return at::empty_strided(tensor.sizes(), tensor.strides(), options);
  }
  return at::from_blob(kernel_view(tensor.data_ptr()),
                       tensor.sizes(),
                       tensor.strides(),
                       options);
}

std::int64_t gpu_bytes(const at::Tensor& tensor) {
  if (!tensor.is_cuda()) return 0;
  return tensor.numel() * static_cast<std::int64_t>(tensor.itemsize());
}

namespace {

at::Tensor empty(at::IntArrayRef size,
                 std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout>,
                 std::optional<at::Device> device,
                 std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_generic(size,
                                   &sim_allocator(),
                                   c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   c10::dtype_or_default(dtype),
                                   format);
}

at::Tensor empty_strided(at::IntArrayRef size,
                         at::IntArrayRef stride,
                         std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>,
                         std::optional<at::Device> device,
                         std::optional<bool>) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_strided_generic(
      size,
      stride,
      &sim_allocator(),
      c10::DispatchKeySet(c10::DispatchKey::CUDA),
      c10::dtype_or_default(dtype));
}

at::Tensor as_strided(const at::Tensor& self,
                      at::IntArrayRef size,
                      at::IntArrayRef stride,
                      std::optional<std::int64_t> offset) {
  return at::native::as_strided_tensorimpl(self, size, stride, offset);
}

at::Tensor view(const at::Tensor& self, at::IntArrayRef size) {
  return at::native::view(self, size);
}

at::Tensor reshape_alias(const at::Tensor& self,
                         at::IntArrayRef size,
                         at::IntArrayRef stride) {
  return at::native::_reshape_alias(self, size, stride);
}

const at::Tensor& resize(const at::Tensor& self,
                         at::IntArrayRef size,
                         std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(self.device());
  return at::native::resize_(self, size, format);
}

void record_stream(at::Tensor& self, c10::Stream stream) {
  static_cast<c10::DeviceAllocator&>(sim_allocator())
      .recordStream(self.storage().data_ptr(), stream);
}

/// As cudaMemcpyAsync: what is not pinned is read before this returns, and
/// written before it returns; the device itself copies in the order of its
/// stream.
at::Tensor& copy(at::Tensor& self, const at::Tensor& source, bool late) {
  if (self.numel() == 0) return self;
  set_last_operation("aten::copy_");
  const at::Device device = self.is_cuda() ? self.device() : source.device();
  const c10::DeviceGuard guard(device);
  const at::NoGradGuard no_grad;
  if (self.is_cuda() && source.is_cuda()) {
    TORCH_CHECK(self.device() == source.device(),
                "simulated GPU: a copy from ",
                source.device(),
                " to ",
                self.device());
    count_operator("aten::copy_", 1, gpu_bytes(self) + gpu_bytes(source));
    queue_work(device,
               [to = view_for_kernels(self), from = view_for_kernels(source)] {
                 at::Tensor(to).copy_(from);
               });
    return self;
  }
  count_copy(self.is_cuda() ? "copy to the device" : "copy to the host");
  const bool pinned = (self.is_cuda() ? source : self).is_pinned();
  const at::Tensor from = self.is_cuda() && !(late && pinned) ? source.clone()
                          : pinned && self.is_cuda()
                              // Not its owner: the queue must not be who frees.
                              ? at::from_blob(source.data_ptr(),
                                              source.sizes(),
                                              source.strides(),
                                              source.options())
                              : view_for_kernels(source);
  queue_work(device, [to = view_for_kernels(self), from] {
    at::Tensor(to).copy_(from);
  });
  if (!sim_gpu().computes && !self.is_cuda()) self.zero_();
  if (!(late && pinned)) wait_for_stream(device, "copy");
  return self;
}

at::Tensor copy_from_and_resize(const at::Tensor& self,
                                const at::Tensor& target) {
  const c10::DeviceGuard guard(target.device());
  at::native::resize_(target, self.sizes());
  at::Tensor to = target;
  return copy(to, self, false);
}

at::Scalar item(const at::Tensor& self) {
  at::Tensor value = at::zeros(self.sizes(), self.scalar_type());
  copy(value, self, false);
  return at::native::_local_scalar_dense_cpu(value);
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("as_strided", as_strided);
  m.impl("view", view);
  m.impl("unfold", at::native::unfold);
  m.impl("_reshape_alias", reshape_alias);
  m.impl("resize_", resize);
  m.impl("record_stream", record_stream);
  m.impl("copy_", copy);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", item);
}

}  // namespace
}  // namespace mumoe::fakes

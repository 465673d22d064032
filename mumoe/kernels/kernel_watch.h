#pragma once

#include <ATen/core/Tensor.h>

#include <typeinfo>

namespace mumoe::kernels {

/// Who is told of what a thread computes past LibTorch's dispatcher: kernels of
/// this program and products of matrices. For simulations, where it is all that
/// is left of them, and for those who measure what they would take.
class KernelWatch {
 public:
  virtual ~KernelWatch() = default;
  /// A table of kernels (mumoe/kernels/table.h) is asked for its row.
  virtual void kernel(const std::type_info& family) = 0;
  /// A kernel is given `tensor`, to read or to write; also before the table is
  /// asked.
  virtual void operand(const at::Tensor& tensor) = 0;
  /// out [m, n] = a [m, k] · b [k, n] begins.
  virtual void product(const at::Tensor& out,
                       const at::Tensor& a,
                       const at::Tensor& b) = 0;
  /// It has been computed, or queued.
  virtual void product_ended() = 0;
  /// So large a share of coefficients is not zero, as was counted.
  virtual void counted(double /*share*/) {}
  /// The share that is to be taken: on the meta device nobody can count.
  virtual double active_share() { return 1; }
};

/// Of this thread; null: nobody.
inline thread_local KernelWatch* kernel_watch = nullptr;

/// The kind of device whose way of computing tensors on the meta device take,
/// on this thread: CPUs and GPUs fuse and cut differently.
inline thread_local c10::DeviceType meta_stands_for = c10::kCPU;

/// Whether what is computed on `device` is computed as on a GPU.
inline bool like_gpu(c10::Device device) {
  return device.is_cuda() ||
         (device.is_meta() && meta_stands_for == c10::kCUDA);
}

}  // namespace mumoe::kernels

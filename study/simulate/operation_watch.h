#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mumoe/kernels/kernel_watch.h"
#include "study/simulate/operation.h"

namespace mumoe::study {

/// Sees what this thread computes for as long as it lives: LibTorch's operators
/// as they reach a device, below autograd, and this program's own kernels and
/// products. Of the meta device, whose operators compute nothing, it makes what
/// LibTorch has not: fused attention, and values for a host that reads them
/// (ones: finite numbers).
///
/// An operation lasts until the next begins, so that none of the time of a step
/// is left out. One of them at a time on a thread.
class OperationWatch final : public kernels::KernelWatch {
 public:
  /// `sink` must outlive this.
  explicit OperationWatch(OperationSink& sink);
  ~OperationWatch() override;
  OperationWatch(const OperationWatch&) = delete;
  OperationWatch& operator=(const OperationWatch&) = delete;

  /// What was under way is over; `name` begins, of the host.
  void host(const std::string& name);
  /// What was under way is over.
  void pause();
  /// What follows, up to `release`, is nobody's.
  void hold();
  void release() { --inside_; }
  /// What `active_share` answers, one after the other and again from the front;
  /// none: 1.
  void set_active_shares(std::vector<double> shares) {
    active_shares_ = std::move(shares);
  }
  /// What was counted since this was called last.
  std::vector<double> take_counted() { return std::exchange(counted_, {}); }

  void kernel(const std::type_info& family) override;
  void operand(const at::Tensor& tensor) override;
  void product(const at::Tensor& out,
               const at::Tensor& a,
               const at::Tensor& b) override;
  void product_ended() override { --inside_; }
  void counted(double share) override { counted_.push_back(share); }
  double active_share() override;

  /// Of the dispatcher: runs `op` on what lies on top of `stack`.
  void dispatched(const c10::OperatorHandle& op,
                  c10::DispatchKeySet keys,
                  torch::jit::Stack& stack);
  /// The one of this thread, or null.
  static OperationWatch* of_thread();

 private:
  void begin(Operation operation);

  OperationSink& sink_;
  std::optional<Operation> under_way_;
  double operands_ = 0;  ///< Of a kernel to come, bytes.
  int inside_ = 0;       ///< What operators are a part of, or nobody's.
  std::vector<double> counted_;
  std::vector<double> active_shares_;
  std::size_t asked_ = 0;
  c10::impl::IncludeDispatchKeyGuard included_;
};

}  // namespace mumoe::study

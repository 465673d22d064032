#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "dist/nccl/cuda_handles.h"
#include "dist/nccl/nccl_comm.h"
#include "dist/work.h"

namespace mumoe::dist {

/// One operation on its group's stream, and the tensors it uses.
class NcclWork final : public Work::State {
 public:
  /// What queues the operation on the group's stream.
  using Operation = std::function<void(const NcclCall&)>;

  /// Starts it: it runs after what `device`'s current stream now holds.
  NcclWork(std::shared_ptr<NcclComm> comm,
           NcclCall call,
           at::Device device,
           std::vector<at::Tensor> tensors,
           const Operation& operation);
  ~NcclWork() override;

  /// Orders the current stream after it, without blocking the host.
  void wait() override;
  bool done() override;
  /// Blocks the host until it has ended, or throws at the deadline.
  void finish();

 private:
  void leave_tensors() const;

  std::shared_ptr<NcclComm> comm_;
  NcclCall call_;
  at::Device device_;
  CudaEvent end_;
  std::vector<at::Tensor> tensors_;
  cudaStream_t from_;
};

/// The same, of a barrier: `wait` blocks the host.
class NcclBarrier final : public Work::State {
 public:
  explicit NcclBarrier(std::shared_ptr<NcclWork> work)
      : work_(std::move(work)) {}
  void wait() override { work_->finish(); }
  bool done() override { return work_->done(); }

 private:
  std::shared_ptr<NcclWork> work_;
};

}  // namespace mumoe::dist

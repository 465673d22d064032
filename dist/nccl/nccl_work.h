#pragma once

#include <ATen/core/Tensor.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
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

  enum class Waits { stream, host };
  using Timing = CudaEvent::Timing;

  /// Starts it: it runs after what `device`'s current stream now holds.
  /// `timing`: whether `device_times` tells of it.
  NcclWork(std::shared_ptr<NcclComm> comm,
           NcclCall call,
           at::Device device,
           std::vector<at::Tensor> tensors,
           const Operation& operation,
           Waits waits = Waits::stream,
           Timing timing = Timing::off);
  ~NcclWork() override;

  /// Orders the current stream after it. `Waits::host`: blocks the host, too,
  /// until it has ended, or throws at the deadline.
  void wait() override;
  bool done() override;
  std::optional<Work::DeviceTimes> device_times() override;

 private:
  void finish();
  void leave_tensors() const;

  std::shared_ptr<NcclComm> comm_;
  NcclCall call_;
  at::Device device_;
  Timing timing_;
  /// Before it on its stream, if it is timed; and where streams wait for it.
  std::optional<CudaEvent> begin_;
  CudaEvent end_;
  std::deque<CudaEvent> arrivals_;
  std::vector<at::Tensor> tensors_;
  cudaStream_t from_;
  Waits waits_;
};

}  // namespace mumoe::dist

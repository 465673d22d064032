#include "dist/nccl/nccl_work.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/error.h"
#include "dist/nccl/cuda_tensors.h"
#include "dist/nccl/nccl_context.h"

namespace mumoe::dist {

NcclWork::NcclWork(std::shared_ptr<NcclComm> comm,
                   NcclCall call,
                   at::Device device,
                   std::vector<at::Tensor> tensors,
                   const Operation& operation,
                   Waits waits,
                   Timing timing)
    : comm_(std::move(comm)),
      call_(std::move(call)),
      device_(device),
      timing_(timing),
      end_(comm_->context()->device(), call_.what, timing),
      tensors_(std::move(tensors)),
      from_(current_stream(device)),
      waits_(waits) {
  const cudaStream_t stream = comm_->stream();
  CudaEvent begin(comm_->context()->device(), call_.what);
  begin.record(from_, call_.what);
  begin.let_wait(stream, call_.what);
  if (timing_ == Timing::on) {
    comm_->context()->clock().start(call_.what);
    begin_.emplace(comm_->context()->device(), call_.what, timing_);
    begin_->record(stream, call_.what);
  }
  try {
    operation(call_);
    end_.record(stream, call_.what);
  } catch (...) {  // the operation, or a part of it, may be in the stream
    leave_tensors();
    throw;
  }
}

NcclWork::~NcclWork() {
  leave_tensors();
}

// Tensors that nobody has waited for, or another stream than the one they came
// from, must outlast the operation: the allocator then sees to that.
void NcclWork::leave_tensors() const {
  for (const at::Tensor& tensor : tensors_) {
    record_stream(tensor, comm_->stream());
  }
}

void NcclWork::wait() {
  if (waits_ == Waits::host) finish();
  comm_->check(call_);
  const cudaStream_t current = current_stream(device_);
  if (timing_ == Timing::on) {
    arrivals_.emplace_back(comm_->context()->device(), call_.what, timing_)
        .record(current, call_.what);
  }
  end_.let_wait(current, call_.what);
  if (current == from_) tensors_.clear();
}

bool NcclWork::done() {
  return end_.reached(call_.what);
}

std::optional<Work::DeviceTimes> NcclWork::device_times() {
  if (timing_ == Timing::off || !done()) return std::nullopt;
  CudaClock& clock = comm_->context()->clock();
  Work::DeviceTimes times{clock.time_of(*begin_, call_.what),
                          clock.time_of(end_, call_.what),
                          {}};
  for (const CudaEvent& arrival : arrivals_) {
    // A stream that has not come so far will not have to wait.
    if (!arrival.reached(call_.what)) continue;
    times.waits.push_back(
        std::min(clock.time_of(arrival, call_.what), times.end));
  }
  return times;
}

void NcclWork::finish() {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  while (!done()) {
    comm_->check(call_);
    if (call_.deadline.count() > 0 && Clock::now() - start > call_.deadline) {
      fail<CommunicationError>(
          "{}: not finished after {} s",
          call_.what,
          std::chrono::duration<double>(call_.deadline).count());
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

}  // namespace mumoe::dist

#include "dist/nccl/nccl_work.h"

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
                   Waits waits)
    : comm_(std::move(comm)),
      call_(std::move(call)),
      device_(device),
      end_(comm_->context()->device(), call_.what),
      tensors_(std::move(tensors)),
      from_(current_stream(device)),
      waits_(waits) {
  const cudaStream_t stream = comm_->stream();
  CudaEvent begin(comm_->context()->device(), call_.what);
  begin.record(from_, call_.what);
  begin.let_wait(stream, call_.what);
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
  end_.let_wait(current, call_.what);
  if (current == from_) tensors_.clear();
}

bool NcclWork::done() {
  return end_.reached(call_.what);
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

#include "dist/nccl/cuda_clock.h"

#include <chrono>

namespace mumoe::dist {

using Clock = Work::Clock;

void CudaClock::start(std::string_view what) {
  const std::lock_guard lock(mutex_);
  if (origin_) return;
  const CudaStream stream(device_, what);
  origin_.emplace(device_, what);
  // Twice: what CUDA does at a first time would lie in between.
  for (int i = 0; i < 2; ++i) {
    origin_->event.record(stream.get(), what);
    origin_->event.synchronize(what);
    origin_->time = Clock::now();
  }
}

Clock::time_point CudaClock::time_of(const CudaEvent& event,
                                     std::string_view what) {
  start(what);
  const std::chrono::duration<double> since(
      event.seconds_since(origin_->event, what));
  return origin_->time + std::chrono::duration_cast<Clock::duration>(since);
}

}  // namespace mumoe::dist

#pragma once

#include <mutex>
#include <optional>
#include <string_view>

#include "dist/nccl/cuda_handles.h"
#include "dist/work.h"

namespace mumoe::dist {

/// The times of a device by the host's clock. Thread safety: full.
class CudaClock {
 public:
  explicit CudaClock(int device) : device_(device) {}

  /// Sets it, once: waits for a stream of its own. Before the first event whose
  /// time is asked for.
  void start(std::string_view what);
  /// When the device reached `event`, which it has, and which keeps its time.
  Work::Clock::time_point time_of(const CudaEvent& event,
                                  std::string_view what);

 private:
  /// A moment by both clocks.
  struct Moment {
    Moment(int device, std::string_view what)
        : event(device, what, CudaEvent::Timing::on) {}
    CudaEvent event;
    Work::Clock::time_point time;
  };

  int device_;
  std::mutex mutex_;
  std::optional<Moment> origin_;
};

}  // namespace mumoe::dist

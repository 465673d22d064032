#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <memory>

namespace mumoe {

/// Bytes of tensors, on any device, that this thread has allocated and not
/// freed since its construction, as LibTorch reports them to profilers.
class LiveBytes {
 public:
  std::int64_t read() const { return report_->live; }

 private:
  struct Report final : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*,
                           std::int64_t bytes,
                           std::size_t,
                           std::size_t,
                           c10::Device) override {
      live += bytes;
    }
    bool memoryProfilingEnabled() const override { return true; }
    std::int64_t live = 0;
  };

  std::shared_ptr<Report> report_ = std::make_shared<Report>();
  c10::DebugInfoGuard guard_{c10::DebugInfoKind::PROFILER_STATE, report_};
};

}  // namespace mumoe

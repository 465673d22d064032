#include "study/simulate/meta_memory.h"

#include <c10/core/Allocator.h>

#include <atomic>
#include <memory>

namespace mumoe::study {
namespace {

std::atomic<std::int64_t> held_bytes = 0;
std::atomic<std::int64_t> peak_bytes = 0;

/// Allocates nothing, and counts it; tensors may outlive whoever asked.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    auto count = std::make_unique<std::int64_t>(bytes);
    const std::int64_t now = held_bytes += *count;
    peak_bytes = std::max(peak_bytes.load(), now);
    return {nullptr, count.release(), &drop, c10::Device(c10::kMeta)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &drop; }
  void copy_data(void*, const void*, std::size_t) const override {}

 private:
  static void drop(void* context) {
    const std::unique_ptr<std::int64_t> count(
        static_cast<std::int64_t*>(context));
    held_bytes -= *count;
  }
};

c10::Allocator* before = nullptr;

}  // namespace

MetaMemory::MetaMemory() {
  static CountingAllocator counting;
  before = c10::GetAllocator(c10::kMeta);
  c10::SetAllocator(c10::kMeta, &counting);
  begin_peak();
}

MetaMemory::~MetaMemory() {
  c10::SetAllocator(c10::kMeta, before);
}

std::int64_t MetaMemory::held() {
  return held_bytes;
}
std::int64_t MetaMemory::peak() {
  return peak_bytes;
}
void MetaMemory::begin_peak() {
  peak_bytes = held_bytes.load();
}

}  // namespace mumoe::study

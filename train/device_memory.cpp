#include "train/device_memory.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace mumoe::train {
namespace {

using c10::CachingAllocator::StatType;

/// The allocator's number of it: the current one where it has none.
c10::DeviceIndex index_of(c10::Device device) {
  if (device.has_index()) return device.index();
  return c10::impl::VirtualGuardImpl(device.type()).getDevice().index();
}

double mib(std::int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

}  // namespace

std::optional<DeviceMemory> device_memory(c10::Device device) {
  if (!device.is_cuda()) return std::nullopt;
  const auto stats =
      c10::getDeviceAllocator(device.type())->getDeviceStats(index_of(device));
  constexpr auto kAll = static_cast<std::size_t>(StatType::AGGREGATE);
  return DeviceMemory{mib(stats.allocated_bytes[kAll].peak),
                      mib(stats.reserved_bytes[kAll].current)};
}

void begin_peak(c10::Device device) {
  if (!device.is_cuda()) return;
  c10::getDeviceAllocator(device.type())->resetPeakStats(index_of(device));
}

}  // namespace mumoe::train

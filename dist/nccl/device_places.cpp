#include "dist/nccl/device_places.h"

#include <fmt/format.h>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/gather_text.h"

namespace mumoe::dist {
namespace {

std::vector<DevicePlace> gather(Communicator& control,
                                const DevicePlace& mine) {
  // The address last: it may be empty. What CUDA says is a line of its own.
  const std::string text = fmt::format("{} {} {} {} {}\n{}",
                                       mine.host.name,
                                       mine.host.machine,
                                       mine.device,
                                       mine.visible,
                                       mine.address,
                                       mine.fault);
  std::vector<DevicePlace> places;
  for (const std::string& gathered : gather_text(control, text)) {
    const auto line = gathered.find('\n');
    std::istringstream words(gathered.substr(0, line));
    DevicePlace& place = places.emplace_back();
    words >> place.host.name >> place.host.machine >> place.device >>
        place.visible >> place.address;
    place.fault = gathered.substr(line + 1);
  }
  return places;
}

}  // namespace

int device_of(int local_rank, int visible) {
  return visible == 1 ? 0 : local_rank;
}

std::string find_device_fault(Communicator& control, const DevicePlace& mine) {
  const std::vector<DevicePlace> places = gather(control, mine);
  for (int r = 0; r < control.size(); ++r) {
    if (places[r].fault.empty()) continue;
    return fmt::format("rank {} on host {} cannot use its GPU: {}",
                       r,
                       places[r].host.name,
                       places[r].fault);
  }
  // By machine, whatever its containers are called.
  std::map<std::pair<std::string, std::string>, int> owners;
  for (int r = 0; r < control.size(); ++r) {
    const DevicePlace& place = places[r];
    if (place.address.empty()) {
      return fmt::format(
          "rank {} on host {} has no GPU {}: {} visible, expected one for each "
          "rank of a host (fewer ranks a host, or the CPU)",
          r,
          place.host.name,
          place.device,
          place.visible);
    }
    const auto [owner, first] =
        owners.try_emplace({place.host.machine, place.address}, r);
    if (!first) {
      return fmt::format(
          "ranks {} and {} on host {} share the GPU at {} (their devices {} "
          "and {}): expected one for each rank; look at CUDA_VISIBLE_DEVICES",
          owner->second,
          r,
          place.host.name,
          place.address,
          places[owner->second].device,
          place.device);
    }
  }
  return {};
}

void require_own_devices(Communicator& control, const DevicePlace& mine) {
  const std::string fault = find_device_fault(control, mine);
  require(fault.empty(), "{}", fault);
}

}  // namespace mumoe::dist

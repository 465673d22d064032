#include "dist/device_places.h"

#include <ATen/ATen.h>

#include <array>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/error.h"

namespace mumoe::dist {
namespace {

// As it travels: what is longer is cut.
struct Packed {
  std::array<char, 64> host;
  std::array<char, 64> machine;
  std::array<char, 48> address;
  std::int64_t device;
  std::int64_t visible;
};
constexpr std::int64_t kWords = sizeof(Packed) / sizeof(std::int64_t);
static_assert(sizeof(Packed) == kWords * sizeof(std::int64_t));

template <std::size_t kSize>
void copy(const std::string& text, std::array<char, kSize>& to) {
  text.copy(to.data(), kSize - 1);
}

std::vector<DevicePlace> gather(Communicator& control,
                                const DevicePlace& mine) {
  Packed packed{};
  copy(mine.host.name, packed.host);
  copy(mine.host.machine, packed.machine);
  copy(mine.address, packed.address);
  packed.device = mine.device;
  packed.visible = mine.visible;
  const at::Tensor own = at::empty({kWords}, at::kLong);
  std::memcpy(own.data_ptr(), &packed, sizeof(packed));
  const at::Tensor all = at::empty({control.size() * kWords}, at::kLong);
  control.all_gather(own, all);
  std::vector<DevicePlace> places;
  for (int r = 0; r < control.size(); ++r) {
    std::memcpy(&packed,
                all.data_ptr<std::int64_t>() + r * kWords,
                sizeof(packed));
    places.push_back({{packed.host.data(), packed.machine.data()},
                      static_cast<int>(packed.device),
                      static_cast<int>(packed.visible),
                      packed.address.data()});
  }
  return places;
}

}  // namespace

int device_of(int local_rank, int visible) {
  return visible == 1 ? 0 : local_rank;
}

std::string find_device_fault(Communicator& control, const DevicePlace& mine) {
  const std::vector<DevicePlace> places = gather(control, mine);
  // By machine, whatever its containers are called.
  std::map<std::pair<std::string, std::string>, int> owners;
  for (int r = 0; r < control.size(); ++r) {
    const DevicePlace& place = places[r];
    if (place.address.empty()) {
      return concat("rank ",
                    r,
                    " on host ",
                    place.host.name,
                    " has no GPU ",
                    place.device,
                    ": ",
                    place.visible,
                    " visible, expected one for each rank of a host (fewer "
                    "ranks a host, or --train.device cpu)");
    }
    const auto [owner, first] =
        owners.try_emplace({place.host.machine, place.address}, r);
    if (!first) {
      return concat("ranks ",
                    owner->second,
                    " and ",
                    r,
                    " on host ",
                    place.host.name,
                    " share the GPU at ",
                    place.address,
                    " (their devices ",
                    places[owner->second].device,
                    " and ",
                    place.device,
                    "): expected one for each rank; look at "
                    "CUDA_VISIBLE_DEVICES");
    }
  }
  return {};
}

void require_own_devices(Communicator& control, const DevicePlace& mine) {
  const std::string fault = find_device_fault(control, mine);
  require(fault.empty(), fault);
}

}  // namespace mumoe::dist

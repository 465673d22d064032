#include "dist/host.h"

#include <unistd.h>

#include <array>
#include <fstream>

namespace mumoe::dist {

Host this_host() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  Host host{.name = name.data()};
  // Every start of a kernel has an id of its own, in containers too.
  std::ifstream("/proc/sys/kernel/random/boot_id") >> host.machine;
  if (host.machine.empty()) host.machine = host.name;
  return host;
}

}  // namespace mumoe::dist

#include "launch/equal_cpus.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>

#include "base/cpu.h"
#include "dist/gather_text.h"

namespace mumoe::launch {

std::string find_unequal_cpus(const dist::ProcessMesh& mesh) {
  const auto mine = fmt::format("{} ({} in libraries), {} threads",
                                to_string(best_isa()),
                                at::get_cpu_capability(),
                                at::get_num_threads());
  const auto cpus = dist::gather_text(mesh.world(), mine);
  // Ranks of a tp group are neighbours.
  const auto group = static_cast<std::size_t>(mesh.tp().size());
  for (std::size_t rank = 0; rank < cpus.size(); ++rank) {
    const std::size_t first = rank - rank % group;
    if (cpus[rank] == cpus[first]) continue;
    return fmt::format("rank {} has {}, rank {} has {}",
                       first,
                       cpus[first],
                       rank,
                       cpus[rank]);
  }
  return {};
}

}  // namespace mumoe::launch

#include "launch/equal_cpus.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>

#include <map>

#include "base/cpu.h"
#include "dist/gather_text.h"

namespace mumoe::launch {

std::string find_unequal_cpus(dist::Communicator& world,
                              const std::vector<dist::RankPlace>& places) {
  const auto mine = fmt::format("{} ({} in libraries), {} threads",
                                to_string(best_isa()),
                                at::get_cpu_capability(),
                                at::get_num_threads());
  const auto cpus = dist::gather_text(world, mine);
  std::map<int, std::size_t> firsts;  // rank of each tp group, by place in dp
  for (std::size_t rank = 0; rank < cpus.size(); ++rank) {
    const auto first = firsts.try_emplace(places[rank].dp, rank).first->second;
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

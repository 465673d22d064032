#include "dist/host_map.h"

#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "base/error.h"
#include "dist/gather_text.h"

namespace mumoe::dist {
namespace {

// Of a machine, in the name of a host.
constexpr std::size_t kShown = 8;

void append_if_new(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    names.push_back(name);
  }
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

HostMap::HostMap(const ProcessMesh& mesh, const Host& mine) {
  const std::string text = fmt::format("{} {} {} {}",
                                       mesh.dp().rank(),
                                       mesh.tp().rank(),
                                       mine.name,
                                       mine.machine);
  std::vector<std::string> machines;                         // by rank
  std::map<std::string, std::set<std::string>> of_one_name;  // machines
  for (const auto& gathered : gather_text(mesh.control(), text)) {
    std::istringstream words(gathered);
    RankPlace& place = places_.emplace_back();
    words >> place.dp >> place.tp >> place.host >> machines.emplace_back();
    of_one_name[place.host].insert(machines.back());
  }
  for (std::size_t rank = 0; rank < places_.size(); ++rank) {
    std::string& host = places_[rank].host;
    if (of_one_name[host].size() == 1) continue;
    host += fmt::format(" ({})", machines[rank].substr(0, kShown));
  }
}

std::vector<std::string> HostMap::hosts() const {
  std::vector<std::string> names;
  for (const auto& place : places_) append_if_new(names, place.host);
  return names;
}

std::vector<int> HostMap::ranks_on(const std::string& host) const {
  std::vector<int> ranks;
  for (std::size_t rank = 0; rank < places_.size(); ++rank) {
    if (places_[rank].host == host) ranks.push_back(static_cast<int>(rank));
  }
  return ranks;
}

void HostMap::require_tp_within_hosts() const {
  struct Group {
    std::vector<std::string> ranks;
    std::vector<std::string> hosts;
  };
  std::map<int, Group> groups;  // by place along dp
  for (std::size_t rank = 0; rank < places_.size(); ++rank) {
    Group& group = groups[places_[rank].dp];
    group.ranks.push_back(std::to_string(rank));
    append_if_new(group.hosts, places_[rank].host);
  }
  for (const auto& [dp, group] : groups) {
    require(group.hosts.size() == 1,
            "tp = {}: the tp group of ranks {} (dp {}) spans the "
            "hosts {}: expected one host; start a multiple of tp ranks on "
            "each",
            group.ranks.size(),
            join(group.ranks),
            dp,
            join(group.hosts));
  }
}

}  // namespace mumoe::dist

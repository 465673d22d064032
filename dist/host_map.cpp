#include "dist/host_map.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "base/error.h"
#include "dist/gather_text.h"

namespace mumoe::dist {
namespace {

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

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

HostMap::HostMap(const ProcessMesh& mesh) {
  const std::string mine =
      concat(mesh.dp().rank(), " ", mesh.tp().rank(), " ", host_name());
  for (const auto& text : gather_text(mesh.world(), mine)) {
    std::istringstream words(text);
    RankPlace& place = places_.emplace_back();
    words >> place.dp >> place.tp >> place.host;
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
            "parallel.tp = ",
            group.ranks.size(),
            ": the tp group of ranks ",
            join(group.ranks),
            " (dp ",
            dp,
            ") spans the hosts ",
            join(group.hosts),
            ": expected one host; start a multiple of parallel.tp ranks on "
            "each, or give --parallel.tp_across_hosts yes");
  }
}

}  // namespace mumoe::dist

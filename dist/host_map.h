#pragma once

#include <string>
#include <vector>

#include "dist/host.h"
#include "dist/process_mesh.h"

namespace mumoe::dist {

/// Where one rank runs, and its place in the mesh.
struct RankPlace {
  std::string host;  ///< Its name, of one host alone.
  int dp = 0;
  int tp = 0;
};

/// Which rank runs on which host. Hosts that share a name go by "name
/// (MACHINE)", the first characters of `Host::machine`.
class HostMap {
 public:
  /// Collective over `mesh.control()`. `mine`: where this rank runs.
  explicit HostMap(const ProcessMesh& mesh, const Host& mine = this_host());
  /// Places by world rank.
  explicit HostMap(std::vector<RankPlace> places)
      : places_(std::move(places)) {}

  /// By world rank; the same on all ranks.
  const std::vector<RankPlace>& places() const { return places_; }
  /// Each host once, in the order of their first ranks.
  std::vector<std::string> hosts() const;
  /// World ranks, in order.
  std::vector<int> ranks_on(const std::string& host) const;

  /// Throws `InputError` naming the first tp group whose ranks are on several
  /// hosts, and these hosts: what tp exchanges several times a block would
  /// cross the network. All ranks throw the same.
  void require_tp_within_hosts() const;

 private:
  std::vector<RankPlace> places_;
};

}  // namespace mumoe::dist

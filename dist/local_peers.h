#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mumoe::dist {

class Communicator;

/// The processes of the other ranks on this host, as /proc shows them: which
/// have ended, which are stopped. Ranks elsewhere, and those that this process
/// may not see, are taken to be well.
///
/// Thread safety: `gone` and `stopped` may be called from any thread.
class LocalPeers {
 public:
  /// Collective over `world`.
  explicit LocalPeers(Communicator& world);

  /// "rank 1 is gone: its process 4711 on this host has ended"; empty: none.
  std::string gone() const;
  /// "rank 1 is stopped: its process 4711 on this host waits for SIGCONT";
  /// empty: none.
  std::string stopped() const;

 private:
  struct Peer {
    int rank;
    std::int64_t pid;
    std::int64_t start_time;  // tells it from a later process of that number
  };
  std::string find(bool (*is)(char state),
                   const char* what,
                   const char* detail) const;

  std::vector<Peer> peers_;
};

}  // namespace mumoe::dist

#include "dist/local_peers.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <sstream>

#include "base/error.h"
#include "dist/communicator.h"
#include "dist/host.h"

namespace mumoe::dist {
namespace {

struct ProcessStatus {
  char state = 'X';  // as ps shows it; X: there is none
  std::int64_t start_time = 0;
};

// Fields 3 and 22 of /proc/PID/stat; field 2, the name in brackets, may hold
// anything.
ProcessStatus status_of(std::int64_t pid) {
  std::ifstream file(concat("/proc/", pid, "/stat"));
  std::string line;
  std::getline(file, line);
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream fields(line.substr(name_end + 1));
  ProcessStatus status;
  fields >> status.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> status.start_time;
  return status;
}

}  // namespace

LocalPeers::LocalPeers(Communicator& world) {
  const std::int64_t pid = ::getpid();
  // What shares this /proc, whatever its host is called. In a container of its
  // own a process has another number here, or another start.
  const auto machine =
      static_cast<std::int64_t>(std::hash<std::string>()(this_host().machine));
  const auto mine = at::empty({3}, at::kLong);
  auto* values = mine.mutable_data_ptr<std::int64_t>();
  values[0] = machine;
  values[1] = pid;
  values[2] = status_of(pid).start_time;
  const auto all = at::empty({world.size(), 3}, at::kLong);
  world.all_gather(mine, all.view({-1}));
  const auto* row = all.const_data_ptr<std::int64_t>();
  for (int rank = 0; rank < world.size(); ++rank, row += 3) {
    const bool visible = row[0] == machine && row[1] != pid &&
                         status_of(row[1]).start_time == row[2];
    if (visible) peers_.push_back({rank, row[1], row[2]});
  }
}

std::string LocalPeers::gone() const {
  return find([](char state) { return state == 'X' || state == 'Z'; },
              "gone",
              "has ended");
}

std::string LocalPeers::stopped() const {
  return find([](char state) { return state == 'T' || state == 't'; },
              "stopped",
              "waits for SIGCONT");
}

std::string LocalPeers::find(bool (*is)(char state),
                             const char* what,
                             const char* detail) const {
  std::string text;
  for (const Peer& peer : peers_) {
    ProcessStatus status = status_of(peer.pid);
    if (status.start_time != peer.start_time) status.state = 'X';
    if (!is(status.state)) continue;
    text += concat(text.empty() ? "" : ", ",
                   "rank ",
                   peer.rank,
                   " is ",
                   what,
                   ": its process ",
                   peer.pid,
                   " on this host ",
                   detail);
  }
  return text;
}

}  // namespace mumoe::dist

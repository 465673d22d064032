#include "dist/watch/local_peers.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <sstream>
#include <string_view>
#include <utility>

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
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
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

// Open for writing in this process, for reading through /proc in others.
int make_word() {
  const int file = memfd_create("mumoe_word", MFD_CLOEXEC);
  if (file >= 0 && ftruncate(file, sizeof(std::atomic<int>)) == 0) return file;
  if (file >= 0) close(file);
  return -1;
}

}  // namespace

static_assert(std::atomic<int>::is_always_lock_free);

LocalPeers::Word::Word(int file, bool writable) {
  if (file < 0) return;
  void* memory = mmap(nullptr,
                      sizeof(std::atomic<int>),
                      writable ? PROT_READ | PROT_WRITE : PROT_READ,
                      MAP_SHARED,
                      file,
                      0);
  // The file is zeros, which is the atomic's zero.
  if (memory != MAP_FAILED) value_ = static_cast<std::atomic<int>*>(memory);
}

LocalPeers::Word::~Word() {
  if (value_) munmap(value_, sizeof *value_);
}

LocalPeers::Word::Word(Word&& other) noexcept
    : value_(std::exchange(other.value_, nullptr)) {}

LocalPeers::LocalPeers(Communicator& world)
    : rank_(world.rank()), file_(make_word()), word_(file_, /*writable=*/true) {
  constexpr int kFields = 4;
  const std::int64_t pid = ::getpid();
  // What shares this /proc, whatever its host is called. In a container of its
  // own a process has another number here, or another start.
  const auto machine =
      static_cast<std::int64_t>(std::hash<std::string>()(this_host().machine));
  const auto mine = at::empty({kFields}, at::kLong);
  auto* values = mine.mutable_data_ptr<std::int64_t>();
  values[0] = machine;
  values[1] = pid;
  values[2] = status_of(pid).start_time;
  values[3] = file_;
  const auto all = at::empty({world.size(), kFields}, at::kLong);
  world.all_gather(mine, all.view({-1}));
  const auto* row = all.const_data_ptr<std::int64_t>();
  for (int rank = 0; rank < world.size(); ++rank, row += kFields) {
    const bool visible = row[0] == machine && row[1] != pid &&
                         status_of(row[1]).start_time == row[2];
    if (!visible) continue;
    const auto path = fmt::format("/proc/{}/fd/{}", row[1], row[3]);
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    peers_.push_back({rank, row[1], row[2], Word(file, /*writable=*/false)});
    if (file >= 0) close(file);
  }
}

LocalPeers::~LocalPeers() {
  if (file_ >= 0) close(file_);
}

void LocalPeers::tell(ExitCode code) const {
  if (word_.get()) word_.get()->store(1 + static_cast<int>(code));
}

std::optional<LocalPeers::Ending> LocalPeers::ending() const {
  for (const Peer& peer : peers_) {
    const int told = peer.word.get() ? peer.word.get()->load() : 0;
    if (told > 0) return Ending{peer.rank, static_cast<ExitCode>(told - 1)};
  }
  return std::nullopt;
}

std::string LocalPeers::gone() const {
  return find(
      [](const Peer& peer, char state) {
        // Looked at after the process had ended: it told before, if at all.
        return (state == 'X' || state == 'Z') &&
               !(peer.word.get() && peer.word.get()->load() > 0);
      },
      "gone",
      "has ended");
}

bool LocalPeers::runs(const Peer& peer) const {
  const ProcessStatus status = status_of(peer.pid);
  constexpr std::string_view kNot = "XZTt";
  return status.start_time == peer.start_time &&
         kNot.find(status.state) == kNot.npos;
}

bool LocalPeers::is_lowest() const {
  return std::ranges::none_of(peers_, [this](const Peer& peer) {
    return peer.rank < rank_ && runs(peer);
  });
}

int LocalPeers::running() const {
  return static_cast<int>(
      std::ranges::count_if(peers_,
                            [this](const Peer& peer) { return runs(peer); }));
}

std::string LocalPeers::stopped() const {
  return find(
      [](const Peer&, char state) { return state == 'T' || state == 't'; },
      "stopped",
      "waits for SIGCONT");
}

std::string LocalPeers::find(bool (*is)(const Peer& peer, char state),
                             const char* what,
                             const char* detail) const {
  std::string text;
  for (const Peer& peer : peers_) {
    ProcessStatus status = status_of(peer.pid);
    if (status.start_time != peer.start_time) status.state = 'X';
    if (!is(peer, status.state)) continue;
    text += fmt::format("{}rank {} is {}: its process {} on this host {}",
                        text.empty() ? "" : ", ",
                        peer.rank,
                        what,
                        peer.pid,
                        detail);
  }
  return text;
}

}  // namespace mumoe::dist

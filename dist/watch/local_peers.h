#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace mumoe::dist {

class Communicator;

/// The processes of the other ranks on this host: which have ended, which are
/// stopped, as /proc shows them, and which end the job and say why, as they
/// tell in memory that all of them see. Ranks elsewhere, and those that this
/// process may not see, are taken to be well.
///
/// Thread safety: all methods may be called from any thread.
class LocalPeers {
 public:
  /// A rank that ends the job.
  struct Ending {
    int rank;
    ExitCode code;
  };

  /// Collective over `world`.
  explicit LocalPeers(Communicator& world);
  ~LocalPeers();
  LocalPeers(const LocalPeers&) = delete;
  LocalPeers& operator=(const LocalPeers&) = delete;

  /// Tells the others that this rank ends the job with `code` and that the line
  /// that says why is its own affair: its end is no news to them.
  void tell(ExitCode code) const;
  /// The lowest of the other ranks that has told, whether its process still
  /// runs or not. Returns at once.
  std::optional<Ending> ending() const;

  /// "rank 1 is gone: its process 4711 on this host has ended", of ranks that
  /// have not told; empty: none.
  std::string gone() const;
  /// Whether no lower rank on this host runs: of what all of them see, this one
  /// speaks for the others, of which so many run.
  bool is_lowest() const;
  int running() const;
  /// "rank 1 is stopped: its process 4711 on this host waits for SIGCONT";
  /// empty: none.
  std::string stopped() const;

 private:
  /// What a rank tells: 0, or 1 + its exit code. A page of memory that outlives
  /// the process for those who have mapped it.
  class Word {
   public:
    Word() = default;
    /// Maps `file`; without access it is null.
    Word(int file, bool writable);
    ~Word();
    Word(Word&& other) noexcept;
    Word& operator=(Word&&) = delete;
    std::atomic<int>* get() const { return value_; }

   private:
    std::atomic<int>* value_ = nullptr;
  };
  struct Peer {
    int rank;
    std::int64_t pid;
    std::int64_t start_time;  // tells it from a later process of that number
    Word word;
  };
  std::string find(bool (*is)(const Peer& peer, char state),
                   const char* what,
                   const char* detail) const;

  bool runs(const Peer& peer) const;

  int rank_;
  int file_;  // of this rank's word; -1: none
  Word word_;
  std::vector<Peer> peers_;
};

}  // namespace mumoe::dist

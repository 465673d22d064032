#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mumoe::fakes {

using Bytes = std::vector<std::byte>;

/// Ranks of one machine, processes or threads, that exchange bytes through
/// memory which they share. One operation at a time.
class FakeGroup {
 public:
  /// Where the memory is: made by one rank, given to all.
  struct Address {
    std::int64_t process = 0;
    std::int64_t file = -1;
  };
  static Address make(int size);
  /// Of one that nobody will use; by the process that has made it.
  static void drop(const Address& address);

  /// Collective: blocks until all `size` ranks are here, or `stop`.
  FakeGroup(const Address& address,
            int rank,
            int size,
            const std::atomic<bool>& stop);
  ~FakeGroup();
  FakeGroup(const FakeGroup&) = delete;
  FakeGroup& operator=(const FakeGroup&) = delete;

  /// All ranks' `bytes` from `from`, in rank order; none when it is to stop
  /// before all have come. Collective.
  std::vector<Bytes> gather(const void* from, std::size_t bytes);

 private:
  struct Rank;
  Rank& of(int rank) const;
  /// False: it is to stop.
  template <class Ready>
  bool wait_until(Ready ready) const;

  int rank_;
  int size_;
  const std::atomic<bool>& stop_;
  char* memory_ = nullptr;
  std::uint64_t operations_ = 0;
};

}  // namespace mumoe::fakes

#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "data/samples.h"

namespace mumoe::data {

/// Prepares batches ahead of their use, in one thread of its own: `make(i)` for
/// i = first, first + 1, ... without end, at most `depth` waiting. `make` must
/// not touch what the caller changes meanwhile. `next` is for one thread.
class Prefetcher {
 public:
  using Make = std::function<HostBatch(std::uint64_t index)>;

  /// Starts the thread.
  explicit Prefetcher(Make make,
                      std::uint64_t first = 0,
                      std::size_t depth = 2);

  /// Lets a batch in the making finish, drops what waits, ends the thread.
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// The next batch in order; waits for it. What `make` threw for a batch is
  /// thrown here in its place, and at every call after.
  HostBatch next();

 private:
  void work(std::uint64_t index);

  const Make make_;
  const std::size_t depth_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<HostBatch> ready_;  // guarded by mutex_
  std::exception_ptr failure_;   // guarded by mutex_
  bool stopping_ = false;        // guarded by mutex_
  std::thread thread_;           // last: starts when the rest is there
};

}  // namespace mumoe::data

#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace mumoe::data {

/// A few threads that share out a loop. The thread that asks works too, so that
/// one thread is none more; loops of several threads may run at once.
class Workers {
 public:
  /// `threads` in all, at least 1.
  explicit Workers(int threads);
  /// Waits for no loop: there must be none.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  int threads() const { return static_cast<int>(threads_.size()) + 1; }

  /// Calls `action(i)` once for every i in [0, count), in any order, on any
  /// thread; returns when all are done. Of what they throw, that of the least i
  /// is thrown here: which one it is does not hang on the threads, so all are
  /// called whatever happens.
  void for_each(std::size_t count,
                const std::function<void(std::size_t)>& action);

 private:
  struct Loop;
  void work();
  /// Calls the next of the loop; false when none was left.
  static bool step(Loop& loop);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Loop>> loops_;  // guarded by mutex_
  bool stopping_ = false;                    // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace mumoe::data

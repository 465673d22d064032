#include "data/workers.h"

#include <atomic>
#include <exception>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/thread_signals.h"

namespace mumoe::data {

/// A loop under way; its threads hold it until they have seen its end.
struct Workers::Loop {
  std::size_t count = 0;
  const std::function<void(std::size_t)>* action = nullptr;
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::condition_variable finished;
  std::size_t done = 0;                                          // guarded
  std::size_t failed = std::numeric_limits<std::size_t>::max();  // guarded
  std::exception_ptr failure;                                    // guarded
};

Workers::Workers(int threads) {
  require(threads >= 1, "{} threads: expected at least 1", threads);
  for (int i = 1; i < threads; ++i) {
    threads_.emplace_back([this] {
      block_signals();
      work();
    });
  }
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Workers::step(Loop& loop) {
  const std::size_t i = loop.next++;
  if (i >= loop.count) return false;
  std::exception_ptr failure;
  try {
    (*loop.action)(i);
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard lock(loop.mutex);
  if (failure && i < loop.failed) {
    loop.failed = i;
    loop.failure = std::move(failure);
  }
  if (++loop.done == loop.count) loop.finished.notify_all();
  return true;
}

void Workers::work() {
  for (;;) {
    std::shared_ptr<Loop> loop;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || !loops_.empty(); });
      if (stopping_) return;
      loop = loops_.front();
      if (loop->next >= loop->count) {  // nothing left to begin
        loops_.pop_front();
        continue;
      }
    }
    while (step(*loop)) {
    }
  }
}

void Workers::for_each(std::size_t count,
                       const std::function<void(std::size_t)>& action) {
  if (count == 0) return;
  const auto loop = std::make_shared<Loop>();
  loop->count = count;
  loop->action = &action;
  if (!threads_.empty() && count > 1) {
    {
      const std::lock_guard lock(mutex_);
      loops_.push_back(loop);
    }
    changed_.notify_all();
  }
  while (step(*loop)) {
  }
  std::unique_lock lock(loop->mutex);
  loop->finished.wait(lock, [&] { return loop->done == loop->count; });
  // Taken out of the loop: a thread that still holds the loop would end what
  // the caller looks at, ordered by nothing but a count inside libstdc++.
  if (auto failure = std::exchange(loop->failure, nullptr)) {
    std::rethrow_exception(std::move(failure));
  }
}

}  // namespace mumoe::data

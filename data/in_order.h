#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/thread_signals.h"

namespace mumoe::data {

/// Threads for work on texts when `wanted` is 0: one a core, at most 16.
inline unsigned thread_count(unsigned wanted) {
  if (wanted > 0) return wanted;
  const unsigned cores = std::thread::hardware_concurrency();
  return cores == 0 ? 1 : cores < 16 ? cores : 16;
}

/// Works through items on `threads` threads, of which each holds one at a time:
/// `next()` yields an optional item, nothing at the end; `work(item)` makes a
/// result of it; `commit(result)` takes the results in the items' order.
/// `next` and `commit` are each called by one thread at a time, `work` by all.
/// Of what they throw, that of the first item in order comes out, and nothing
/// after that item is committed.
template <class Next, class Work, class Commit>
void in_order(unsigned threads, Next next, Work work, Commit commit) {
  using Item = decltype(next());
  using Result = decltype(work(*next()));
  std::mutex reading, committing;
  std::condition_variable committed;
  std::uint64_t read = 0, turn = 0;
  bool ended = false;          // of `reading`
  std::exception_ptr failure;  // of `committing`
  const auto one_item = [&] {
    Item item;
    std::optional<Result> result;
    std::exception_ptr error;
    std::uint64_t number = 0;
    {
      const std::lock_guard lock(reading);
      if (ended) return false;
      try {
        item = next();
      } catch (...) {
        error = std::current_exception();
      }
      ended = !item;
      if (!item && !error) return false;
      number = read++;
    }
    try {
      if (!error) result.emplace(work(*item));
    } catch (...) {
      error = std::current_exception();
    }
    std::unique_lock lock(committing);
    committed.wait(lock, [&] { return turn == number || failure; });
    if (failure) return false;
    try {
      if (error) std::rethrow_exception(error);
      commit(std::move(*result));
    } catch (...) {
      failure = std::current_exception();
    }
    ++turn;
    committed.notify_all();
    return !failure;
  };
  {
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < threads; ++i) {
      others.emplace_back([&] {
        block_signals();
        while (one_item()) {
        }
      });
    }
    while (one_item()) {
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace mumoe::data

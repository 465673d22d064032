#include "data/workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "tests/support/errors.h"

namespace mumoe::data {
namespace {

TEST(Workers, CallEachNumberOnceWithAnyNumberOfThreads) {
  for (const int threads : {1, 2, 4}) {
    Workers workers(threads);
    for (const std::size_t count : {0u, 1u, 3u, 1000u}) {
      std::vector<std::atomic<int>> calls(count);
      workers.for_each(count, [&](std::size_t i) { ++calls[i]; });
      for (const auto& n : calls) EXPECT_EQ(n, 1);
    }
  }
}

TEST(Workers, WorkAtOnceAndNoMoreThanAsked) {
  Workers workers(3);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  std::atomic<int> waiting = 0;
  // Each waits for two others: only three threads get through.
  workers.for_each(3, [&](std::size_t) {
    ++waiting;
    while (waiting < 3) std::this_thread::yield();
  });
  workers.for_each(300, [&](std::size_t) {
    const std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  EXPECT_LE(seen.size(), 3u);
}

TEST(Workers, TheErrorOfTheLeastNumberIsTheOneThrown) {
  for (const int threads : {1, 4}) {
    Workers workers(threads);
    std::atomic<int> calls = 0;
    testing::expect_input_error(
        [&] {
          workers.for_each(100, [&](std::size_t i) {
            ++calls;
            require(i < 7 || i % 3 != 0, "number {} is bad", i);
          });
        },
        {"number 9 is bad"});
    EXPECT_EQ(calls, 100);
  }
}

// ThreadSanitizer: no other thread may end what the caller looks at.
TEST(Workers, AnErrorIsTheCallersAlone) {
  Workers workers(16);
  for (int round = 0; round < 2000; ++round) {
    testing::expect_input_error(
        [&] {
          workers.for_each(32, [&](std::size_t i) {
            require(false, "number {} of round {} is bad", i, round);
          });
        },
        {"number 0 of round", "is bad"});
  }
}

TEST(Workers, LoopsOfSeveralThreadsRunAtOnce) {
  Workers workers(2);
  std::atomic<int> calls = 0;
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        workers.for_each(20, [&](std::size_t) { ++calls; });
      }
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(calls, 4 * 50 * 20);
}

TEST(Workers, NoThreadsAreRefused) {
  testing::expect_input_error([] { Workers workers(0); }, {"0 threads"});
}

}  // namespace
}  // namespace mumoe::data

#include "data/prefetch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/error.h"

namespace mumoe::data {
namespace {

HostBatch numbered(std::uint64_t index) {
  return {1, std::vector{static_cast<std::int32_t>(index)}, {}};
}

std::int32_t number(const HostBatch& batch) {
  return std::get<std::vector<std::int32_t>>(batch.input).at(0);
}

TEST(Prefetcher, YieldsBatchesInOrderFromTheFirst) {
  Prefetcher prefetcher(numbered, 100);
  for (int i = 100; i < 1100; ++i) {
    ASSERT_EQ(number(prefetcher.next()), i);
  }
}

TEST(Prefetcher, MakesNoMoreThanDepthAhead) {
  std::atomic<int> made = 0;
  Prefetcher prefetcher(
      [&](std::uint64_t i) {
        ++made;
        return numbered(i);
      },
      0,
      3);
  const auto settle = [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  };
  for (int i = 0; i < 200 && made < 3; ++i) settle();
  settle();
  EXPECT_EQ(made, 3);
  prefetcher.next();
  for (int i = 0; i < 200 && made < 4; ++i) settle();
  settle();
  EXPECT_EQ(made, 4);
}

TEST(Prefetcher, AnErrorComesInPlaceOfItsBatchAndStays) {
  Prefetcher prefetcher([](std::uint64_t i) {
    require(i < 5, "batch {}", i);
    return numbered(i);
  });
  for (int i = 0; i < 5; ++i) EXPECT_EQ(number(prefetcher.next()), i);
  for (int again = 0; again < 2; ++again) {
    try {
      prefetcher.next();
      FAIL() << "nothing was thrown";
    } catch (const InputError& error) {
      EXPECT_STREQ(error.what(), "batch 5");
    }
  }
}

TEST(Prefetcher, EndsWhateverItsThreadIsDoing) {
  for (int i = 0; i < 200; ++i) {
    Prefetcher unused(numbered);
    Prefetcher used(numbered);
    used.next();
    Prefetcher failed(
        [](std::uint64_t) -> HostBatch { fail<InputError>("x"); });
  }
}

}  // namespace
}  // namespace mumoe::data

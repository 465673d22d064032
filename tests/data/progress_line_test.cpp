#include "data/progress_line.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace mumoe::data {
namespace {

using std::chrono::hours;

TEST(ProgressLine, SaysHowFarItIs) {
  ::testing::internal::CaptureStderr();
  ProgressLine files("checking pictures", {3}, {});
  files.add();
  files.add(2);
  ProgressLine text("tokenizing novels", megabytes(3'400'000), {});
  text.add(1'999'999);
  ProgressLine unknown("reading novels", megabytes(), {});
  unknown.add(5'000'000);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "mumoe: checking pictures: 1 of 3 files\n"
            "mumoe: checking pictures: 3 of 3 files\n"
            "mumoe: tokenizing novels: 1 of 3 MB\n"
            "mumoe: reading novels: 5 MB\n");
}

TEST(ProgressLine, IsSilentUntilItHasTakenLong) {
  ::testing::internal::CaptureStderr();
  ProgressLine line("checking", {1000}, hours(1));
  for (int i = 0; i < 1000; ++i) line.add();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(ProgressLine, CountsWhatManyThreadsDo) {
  ::testing::internal::CaptureStderr();
  ProgressLine line("checking", {200}, {});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) line.add();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string all = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::ranges::count(all, '\n'), 200);
  EXPECT_TRUE(all.ends_with("mumoe: checking: 200 of 200 files\n")) << all;
}

}  // namespace
}  // namespace mumoe::data

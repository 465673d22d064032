#include "train/time_limit.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace mumoe::train {
namespace {

using namespace std::chrono_literals;
using Clock = TimeLimit::Clock;

/// A limit of ten minutes, and a clock that a test turns.
struct Limited {
  Clock::time_point now;
  TimeLimit limit{10, now, [this] { return now; }};

  bool at(std::chrono::seconds since) {
    now = Clock::time_point{} + since;
    return limit.reached();
  }
  /// A step of two micro-batches that has come to its check.
  void step_until_check(std::chrono::seconds takes) {
    for (int micro = 0; micro < 2; ++micro) {
      for (const char* name : {"load", "forward", "backward"}) {
        limit.phase(name);
      }
      now += takes / 2;
    }
    limit.phase("check");
  }
  void step(std::chrono::seconds takes) {
    step_until_check(takes);
    limit.phase("update");
    limit.phase("report");
  }
};

TEST(TimeLimit, IsNoneWhereNoneIsAskedFor) {
  auto now = Clock::time_point{};
  TimeLimit limit(0, now, [&] { return now; });
  now += 1'000'000h;
  EXPECT_FALSE(limit.reached());
  EXPECT_FALSE(limit.stops());
}

TEST(TimeLimit, CountsFromTheBeginningAndStaysReached) {
  Limited run;
  EXPECT_FALSE(run.at(0s));
  EXPECT_FALSE(run.at(599s));
  EXPECT_FALSE(run.limit.stops());
  EXPECT_TRUE(run.at(600s));
  EXPECT_TRUE(run.at(0s));
  EXPECT_TRUE(run.limit.stops());
}

TEST(TimeLimit, LeavesRoomForTheLongestCheckpoint) {
  Limited run;
  run.limit.saved(20);
  run.limit.saved(50);
  run.limit.saved(30);
  EXPECT_FALSE(run.at(549s));
  EXPECT_TRUE(run.at(550s));
}

TEST(TimeLimit, BeginsNoStepThatWouldEndTooLate) {
  Limited run;
  run.limit.saved(50);
  run.step(40s);
  run.step(20s);
  run.now = Clock::time_point{} + 489s;
  run.step_until_check(20s);  // until 509 s, another 40 s, and 50 s: 599 s
  EXPECT_FALSE(run.limit.reached());
  run.limit.phase("report");
  run.step_until_check(20s);
  EXPECT_TRUE(run.limit.reached());
}

TEST(TimeLimit, KnowsTheFirstStepWhenItAsksAboutTheSecond) {
  Limited run;
  run.step_until_check(299s);
  EXPECT_FALSE(run.limit.reached());
  Limited slow;
  slow.step_until_check(300s);
  EXPECT_TRUE(slow.limit.reached());
}

TEST(TimeLimit, GivesUpNoStepThatItLetBegin) {
  Limited run;
  run.step(100s);
  run.limit.phase("load");
  run.limit.phase("backward");
  EXPECT_FALSE(run.at(599s));  // asked between two micro-batches
  run.limit.phase("check");
  EXPECT_TRUE(run.at(599s));
}

TEST(TimeLimit, TakesNeitherEvaluationsNorCheckpointsForSteps) {
  Limited run;
  run.step(10s);
  run.limit.phase("evaluation");
  EXPECT_FALSE(run.at(400s));
  run.limit.phase("evaluation");
  run.step_until_check(10s);  // until 410 s
  EXPECT_FALSE(run.limit.reached());
  // One that was given up for another reason ends with the checkpoint.
  run.limit.phase("report");
  run.limit.phase("load");
  run.limit.phase("checkpoint");
  run.now += 100s;  // until 510 s
  run.step_until_check(10s);
  EXPECT_FALSE(run.limit.reached());
}

TEST(TimeLimit, BeginsWithTheProcess) {
  const auto asked = Clock::now();
  const auto began = process_began();
  EXPECT_LE(began, asked + 20ms);  // the system counts in hundredths
  EXPECT_GE(began, asked - 10min);
  std::this_thread::sleep_for(50ms);
  EXPECT_LT(process_began() - began, 15ms);
  EXPECT_GT(process_began() - began, -15ms);
}

}  // namespace
}  // namespace mumoe::train

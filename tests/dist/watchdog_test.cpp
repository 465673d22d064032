#include "dist/watch/watchdog.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <optional>
#include <regex>
#include <thread>

#include "base/error.h"
#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// What a watchdog does to a job, and when.
class Job {
 public:
  Watchdog::Options options(Deadlines deadlines) {
    Watchdog::Options options;
    options.deadlines = deadlines;
    options.grace = 10ms;
    options.print = [this](const std::string& line) {
      std::lock_guard lock(mutex_);
      line_ = line;
      printed_ = Clock::now();
    };
    options.end = [this] {
      std::lock_guard lock(mutex_);
      ended_ = Clock::now();
      changed_.notify_all();
    };
    return options;
  }

  // The line it was ended with; empty: it goes on.
  std::string end_within(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, time, [this] { return ended_.has_value(); });
    return ended_ ? line_ : "";
  }
  Clock::duration grace() const { return *ended_ - *printed_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string line_;
  std::optional<Clock::time_point> printed_;
  std::optional<Clock::time_point> ended_;
};

void expect_match(const std::string& line, const std::string& pattern) {
  EXPECT_TRUE(std::regex_match(line, std::regex(pattern)))
      << line << "\ndoes not match\n"
      << pattern;
}

class WatchdogTest : public ::testing::Test {
 protected:
  const std::unique_ptr<Communicator> self_ = make_self_communicator(at::kCPU);
  ProcessMesh mesh_{*self_, 1, 1};
  Job job_;
};

const std::string kRank = R"(rank 0 of 1 \(dp 0/1 tp 0/1\): )";
const std::string kTime = R"(\d+\.\d s)";

TEST_F(WatchdogTest, StartIsTheFirstStage) {
  const Watchdog watchdog(mesh_, job_.options({.start = 200ms}));
  expect_match(job_.end_within(60s),
               kRank + "phase start for " + kTime +
                   ", deadline 0.2 s; no collective yet");
}

// Phases one after the other, the last of which never ends, and the line.
struct Stuck {
  std::string name;
  Deadlines deadlines;
  std::vector<std::string> phases;
  std::string text;
};

class StuckIn : public WatchdogTest,
                public ::testing::WithParamInterface<Stuck> {};

TEST_P(StuckIn, EndsTheJobWithOneLine) {
  Watchdog watchdog(mesh_, job_.options(GetParam().deadlines));
  for (const auto& phase : GetParam().phases) watchdog.phase(phase);
  expect_match(job_.end_within(60s),
               kRank +
                   std::regex_replace(GetParam().text, std::regex("T"), kTime) +
                   ", deadline 0.3 s; no collective yet");
}

const std::vector<std::string> kStep = {"load",
                                        "forward",
                                        "backward",
                                        "check",
                                        "update"};

std::vector<std::string> after_a_step(std::vector<std::string> phases) {
  phases.insert(phases.begin(), kStep.begin(), kStep.end());
  return phases;
}

// Only the stage in question has a deadline: no other can end these jobs.
const Stuck kStuck[] = {
    {"first_step",
     {.first_step = 300ms},
     {"load", "forward"},
     "phase forward for T, its first step for T"},
    {"first_update",
     {.first_step = 300ms},
     kStep,
     "phase update for T, its first step for T"},
    {"step",
     {.step = 300ms},
     after_a_step({"load", "forward"}),
     "phase forward for T, its step for T"},
    {"step_after_evaluation",
     {.step = 300ms},
     after_a_step({"evaluation", "load"}),
     "phase load for T, its step for T"},
    {"micro_batch",
     {.step = 300ms},
     after_a_step({"load", "forward", "backward", "load", "forward"}),
     "phase forward for T, its step for T"},
    {"evaluation",
     {.evaluation = 300ms},
     after_a_step({"evaluation"}),
     "phase evaluation for T"},
    {"bench", {.evaluation = 300ms}, {"bench", "bench"}, "phase bench for T"},
    {"checkpoint",
     {.checkpoint = 300ms},
     after_a_step({"evaluation", "checkpoint"}),
     "phase checkpoint for T"},
    {"start_after_data",
     {.start = 300ms},
     {"data", "start"},
     "phase start for T"},
};

INSTANTIATE_TEST_SUITE_P(Watchdog,
                         StuckIn,
                         ::testing::ValuesIn(kStuck),
                         [](const auto& info) { return info.param.name; });

TEST_F(WatchdogTest, FetchingDataTakesAsLongAsItTakes) {
  Watchdog watchdog(mesh_, job_.options(Deadlines::of(100ms)));
  watchdog.phase("data");
  EXPECT_EQ(job_.end_within(600ms), "");
}

TEST_F(WatchdogTest, ZeroIsNoDeadline) {
  Watchdog watchdog(mesh_, job_.options({}));
  EXPECT_EQ(job_.end_within(300ms), "");
}

TEST_F(WatchdogTest, EachStepHasItsOwnTime) {
  Watchdog watchdog(mesh_, job_.options(Deadlines::of(1s)));
  const auto begin = Clock::now();
  while (Clock::now() - begin < 2'500ms) {
    for (const auto& phase : kStep) {
      watchdog.phase(phase);
      std::this_thread::sleep_for(5ms);
    }
  }
  EXPECT_EQ(job_.end_within(0ms), "");
}

TEST_F(WatchdogTest, EachBatchOfAnEvaluationHasItsOwnTime) {
  Watchdog watchdog(mesh_, job_.options({.evaluation = 1s}));
  const auto begin = Clock::now();
  while (Clock::now() - begin < 2'500ms) {
    watchdog.phase("evaluation");
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_EQ(job_.end_within(0ms), "");
}

TEST_F(WatchdogTest, MicroBatchesShareTheTimeOfTheirStep) {
  Watchdog watchdog(mesh_, job_.options({.step = 1s}));
  for (const auto& phase : kStep) watchdog.phase(phase);
  std::string line;
  const auto begin = Clock::now();
  while (line.empty() && Clock::now() - begin < 60s) {
    for (const char* phase : {"load", "forward", "backward"}) {
      watchdog.phase(phase);
    }
    line = job_.end_within(20ms);
  }
  expect_match(line,
               kRank + "phase backward for " + kTime + ", its step for " +
                   kTime + ", deadline 1 s; no collective yet");
}

TEST_F(WatchdogTest, WhatAPollReturnsOrThrowsEndsTheJob) {
  for (const bool throws : {false, true}) {
    Job job;
    auto options = job.options({});
    options.polls.emplace_back([] { return std::string(); });
    options.polls.emplace_back([throws]() -> std::string {
      if (throws) throw CommunicationError("device 3 fell off the bus");
      return "device 3 fell off the bus";
    });
    Watchdog watchdog(mesh_, std::move(options));
    expect_match(job.end_within(60s),
                 kRank + "device 3 fell off the bus; phase start for " + kTime +
                     "; no collective yet");
  }
}

TEST_F(WatchdogTest, ANoteIsAddedToTheLine) {
  auto options = job_.options({.start = 100ms});
  options.note = [] { return "rank 7 is stopped"; };
  Watchdog watchdog(mesh_, std::move(options));
  expect_match(job_.end_within(60s),
               ".*; no collective yet; rank 7 is stopped");
}

TEST_F(WatchdogTest, ANoteThatFailsTakesNothingFromTheLine) {
  auto options = job_.options({.start = 100ms});
  options.note = []() -> std::string { throw InputError("no /proc"); };
  Watchdog watchdog(mesh_, std::move(options));
  expect_match(job_.end_within(60s), ".*; no collective yet; no /proc");
}

// An operation that cannot say whether it has ended, as on a GPU that has
// failed.
struct Unknown final : Work::State {
  void wait() override {}
  bool done() override { throw CommunicationError("an illegal address"); }
};

TEST_F(WatchdogTest, AnOperationThatHasFailedIsShownAsSuch) {
  Watchdog watchdog(mesh_, job_.options({.start = 300ms}));
  const auto other = make_self_communicator(at::kCPU);
  for (const Communicator* group : {self_.get(), other.get()}) {
    watchdog.begin(*group, {.op = Op::barrier, .sequence = 3});
    watchdog.started(*group, {}, Work(std::make_shared<Unknown>()));
  }
  const std::string last = "barrier #3 on axis " + self_->axis() + ", begun " +
                           kTime + R"( ago, failed \(an illegal address\))";
  expect_match(job_.end_within(60s),
               kRank + "phase start for " + kTime +
                   ", deadline 0.3 s; last collective " + last + "; also " +
                   last);
}

// A driver that holds up whoever asks it, until the test ends.
struct Hung final : Work::State {
  explicit Hung(std::shared_future<void> end) : end(std::move(end)) {}
  void wait() override {}
  bool done() override {
    end.wait();
    return true;
  }
  std::shared_future<void> end;
};

TEST_F(WatchdogTest, WhatDoesNotAnswerDoesNotKeepTheLine) {
  std::promise<void> end;
  const std::shared_future<void> ended = end.get_future().share();
  auto options = job_.options({.start = 300ms});
  options.polls.emplace_back([ended] {
    ended.wait();
    return std::string();
  });
  options.note = [ended] {
    ended.wait();
    return std::string("a note");
  };
  Watchdog watchdog(mesh_, std::move(options));
  watchdog.begin(*self_, {.op = Op::barrier, .sequence = 3});
  watchdog.started(*self_, {}, Work(std::make_shared<Hung>(ended)));
  expect_match(job_.end_within(60s),
               kRank + "phase start for " + kTime +
                   ", deadline 0.3 s; last collective barrier #3 on axis " +
                   self_->axis() + ", begun " + kTime + " ago, state unknown");
  end.set_value();
}

TEST_F(WatchdogTest, OtherRanksHaveTheGraceToPrint) {
  auto options = job_.options({.start = 50ms});
  options.grace = 400ms;
  Watchdog watchdog(mesh_, std::move(options));
  ASSERT_NE(job_.end_within(60s), "");
  EXPECT_GE(job_.grace(), 400ms);
}

// The line comes at the deadline all the same.
TEST_F(WatchdogTest, AnExpiryEndsTheJobWhenItsStageHasLastedTheLeastTime) {
  auto options = job_.options({.start = 100ms});
  options.least = 600ms;
  Watchdog watchdog(mesh_, std::move(options));
  expect_match(job_.end_within(60s), ".*, deadline 0.1 s; no collective yet");
  EXPECT_GE(job_.grace(), 500ms);
}

TEST_F(WatchdogTest, SaysNothingWhenAnotherRankEndsTheJob) {
  auto options = job_.options({.start = 200ms});
  std::atomic<bool> printed = false;
  options.print = [&](const std::string&) { printed = true; };
  options.polls.emplace_back([] { return "rank 1 is gone"; });
  options.ending = [] { return true; };
  options.ended = 1s;
  const auto start = Clock::now();
  std::promise<void> ended;
  options.end = [&] { ended.set_value(); };
  const Watchdog watchdog(mesh_, options);
  ASSERT_EQ(ended.get_future().wait_for(60s), std::future_status::ready)
      << "where the launcher does not end this rank, it ends itself";
  EXPECT_GE(Clock::now() - start, 1s);
  EXPECT_FALSE(printed);
}

TEST_F(WatchdogTest, DoesNotHoldUpARankThatKnowsThatAnotherEndsTheJob) {
  auto options = job_.options({.start = 60s});
  options.ending = [] { return true; };
  options.ended = 60s;
  const auto start = Clock::now();
  {
    const Watchdog watchdog(mesh_, options);
    std::this_thread::sleep_for(200ms);
  }
  EXPECT_LT(Clock::now() - start, 30s);
}

TEST_F(WatchdogTest, AbortsComeBeforeTheEndAndMayFailOrHang) {
  std::atomic<int> called = 0;
  std::atomic<bool> let_go = false, gone = false;
  auto options = job_.options({.start = 50ms});
  options.aborts.emplace_back([&] {
    ++called;
    throw CommunicationError("no such communicator");
  });
  options.aborts.emplace_back([&] {
    ++called;
    while (!let_go) std::this_thread::sleep_for(10ms);
    gone = true;
  });
  options.end = [&called, end = options.end] {
    EXPECT_EQ(called, 2);
    end();
  };
  {
    Watchdog watchdog(mesh_, std::move(options));
    EXPECT_NE(job_.end_within(60s), "");
  }
  let_go = true;
  while (!gone) std::this_thread::sleep_for(1ms);
}

TEST_F(WatchdogTest, ItsEndWaitsForThatOfTheJob) {
  auto options = job_.options({.start = 50ms});
  std::atomic<bool> printed = false;
  options.print = [&printed, print = options.print](const std::string& line) {
    print(line);
    printed = true;
  };
  options.grace = 300ms;
  {
    const Watchdog watchdog(mesh_, std::move(options));
    while (!printed) std::this_thread::sleep_for(1ms);
  }
  EXPECT_NE(job_.end_within(0ms), "");
}

TEST(WatchdogOfTwoRanks, NamesTheLastCollective) {
  std::vector<std::string> lines(2);
  ThreadWorld::run(2, [&](Communicator& world) {
    ProcessMesh mesh(world, 2, 1);
    Job job;
    Watchdog watchdog(mesh, job.options({.step = 2s}));
    mesh.observe(watchdog);
    for (const auto& phase : kStep) mesh.set_phase(phase);
    mesh.set_phase("load");
    const auto tensor = at::ones({1 << 18}, at::kFloat);
    mesh.dp().all_reduce(tensor);
    mesh.set_phase("backward");
    // Rank 1 does not come; then it does, so that the test can end.
    Work work;
    if (world.rank() == 0) work = mesh.dp().all_reduce_async(tensor);
    lines[world.rank()] = job.end_within(60s);
    world.barrier();
    if (world.rank() == 1) work = mesh.dp().all_reduce_async(tensor);
    work.wait();
  });
  const auto line = [](const std::string& rank, const std::string& last) {
    return "rank " + rank + " of 2 \\(dp " + rank +
           "/2 tp 0/1\\): phase backward for " + kTime + ", its step for " +
           kTime + ", deadline 2 s; last collective all_reduce #" + last;
  };
  expect_match(
      lines[0],
      line("0", "2 of 1.0 MiB on axis dp, begun " + kTime + " ago, not ended"));
  expect_match(
      lines[1],
      line("1", "1 of 1.0 MiB on axis dp, begun " + kTime + " ago, ended"));
}

TEST(WatchdogOfTwoRanks, NamesWhatIsOpenOnOtherAxesToo) {
  ThreadWorld::run(2, [&](Communicator& world) {
    ProcessMesh mesh(world, 2, 1);
    Job job;
    Watchdog watchdog(mesh, job.options({.start = 500ms}));
    mesh.observe(watchdog);
    const auto tensor = at::ones({3}, at::kDouble);
    Work open;
    if (world.rank() == 0) open = mesh.dp().all_reduce_async(tensor);
    mesh.control().barrier();
    const auto line = job.end_within(60s);
    if (world.rank() == 0) {
      expect_match(line,
                   ".*; last collective barrier #1 on axis world, begun " +
                       kTime +
                       " ago, ended; also all_reduce #1 of 24 bytes on axis "
                       "dp, begun " +
                       kTime + " ago, not ended");
    }
    mesh.control().barrier();
    if (world.rank() == 1) open = mesh.dp().all_reduce_async(tensor);
    open.wait();
  });
}

TEST(Deadlines, StartAndFirstStepTakeLonger) {
  const auto deadlines = Deadlines::of(10s);
  EXPECT_EQ(deadlines.start, 20s);
  EXPECT_EQ(deadlines.first_step, 20s);
  EXPECT_EQ(deadlines.step, 10s);
  EXPECT_EQ(deadlines.evaluation, 10s);
  EXPECT_EQ(deadlines.checkpoint, 10s);
  EXPECT_EQ(deadlines.longest(), 20s);
}

}  // namespace
}  // namespace mumoe::dist

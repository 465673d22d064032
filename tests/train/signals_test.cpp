#include "train/signals.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <future>
#include <thread>
#include <utility>

namespace mumoe::train {
namespace {

void never() {
  ADD_FAILURE() << "there was something to save";
}

TEST(StopSignals, AskToStopAndAnEchoDoesNoHarm) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) {
    StopSignals signals(never);
    signals.saving();
    EXPECT_FALSE(signals.requested());
    std::raise(signal);
    EXPECT_TRUE(signals.requested());
    // timeout(1) and launchers send it to the process and to its group.
    std::raise(signal);
    EXPECT_TRUE(signals.requested());
  }
}

TEST(StopSignals, BeforeThereIsAnythingToSaveTheyEndWhatGoesOn) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) {
    std::promise<void> ended;
    StopSignals signals([&] { ended.set_value(); });
    std::raise(signal);
    EXPECT_EQ(ended.get_future().wait_for(std::chrono::seconds(10)),
              std::future_status::ready);
  }
}

TEST(StopSignals, CountFromWhenTheyAreTakenOn) {
  take_stop_signals();
  std::raise(SIGTERM);  // before the program is initialised
  std::promise<void> ended;
  StopSignals signals([&] { ended.set_value(); });
  EXPECT_EQ(ended.get_future().wait_for(std::chrono::seconds(10)),
            std::future_status::ready);
}

TEST(StopSignals, AClosedTerminalIsNoRequestUnderNohup) {
  std::signal(SIGHUP, SIG_IGN);
  {
    StopSignals signals(never);
    signals.saving();
    std::raise(SIGHUP);
    EXPECT_FALSE(signals.requested());
  }
  EXPECT_EQ(std::signal(SIGHUP, SIG_DFL), SIG_IGN) << "it must stay ignored";
}

TEST(StopSignals, OutputThatNobodyReadsEndsNoRun) {
  {
    StopSignals signals(never);
    std::raise(SIGPIPE);
    EXPECT_FALSE(signals.requested());
  }
  // What is buffered is written once more when the process exits.
  EXPECT_EQ(std::signal(SIGPIPE, SIG_DFL), SIG_IGN);
}

// Longer than an echo may come after what it repeats.
constexpr std::chrono::milliseconds kNoEcho{2'100};

TEST(StopSignals, ASecondOneEndsAtOnceWhatDoesNotStop) {
  for (const auto& [first, second] : {std::pair(SIGTERM, SIGINT),
                                      std::pair(SIGUSR1, SIGTERM),
                                      std::pair(SIGINT, SIGUSR1)}) {
    std::promise<void> ended;
    StopSignals signals(never, [&] { ended.set_value(); });
    signals.saving();
    std::raise(first);
    std::raise(second);  // too soon
    std::this_thread::sleep_for(kNoEcho);
    auto future = ended.get_future();
    EXPECT_EQ(future.wait_for(std::chrono::seconds(0)),
              std::future_status::timeout);
    std::raise(second);
    EXPECT_EQ(future.wait_for(std::chrono::seconds(10)),
              std::future_status::ready);
  }
}

TEST(StopSignals, ATerminalThatClosesIsNoSecondOne) {
  StopSignals signals(never, never);
  signals.saving();
  std::raise(SIGUSR1);
  std::this_thread::sleep_for(kNoEcho);
  std::raise(SIGHUP);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_TRUE(signals.requested());
}

TEST(StopSignalsDeathTest, ASecondOneMeansPreempted) {
  EXPECT_EXIT(
      {
        StopSignals signals(never);
        signals.saving();
        std::raise(SIGINT);
        std::this_thread::sleep_for(kNoEcho);
        std::raise(SIGINT);
        std::this_thread::sleep_for(std::chrono::seconds(10));
      },
      ::testing::ExitedWithCode(3),
      "");
}

TEST(StopSignalsDeathTest, AThirdOneWaitsForNobody) {
  EXPECT_EXIT(
      {
        StopSignals signals(never, [] {
          std::this_thread::sleep_for(std::chrono::minutes(1));
        });
        signals.saving();
        for (int i = 0; i < 3; ++i) {
          std::raise(SIGTERM);
          std::this_thread::sleep_for(kNoEcho);
        }
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(3),
      "");
}

}  // namespace
}  // namespace mumoe::train

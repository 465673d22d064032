#include "train/signals.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <future>
#include <thread>

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

TEST(StopSignalsDeathTest, ALaterInterruptEndsTheProcess) {
  EXPECT_EXIT(
      {
        StopSignals signals(never);
        signals.saving();
        std::raise(SIGINT);
        std::this_thread::sleep_for(std::chrono::milliseconds(2100));
        std::raise(SIGINT);
      },
      ::testing::KilledBySignal(SIGINT),
      "");
}

}  // namespace
}  // namespace mumoe::train

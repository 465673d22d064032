#include "train/signals.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <thread>

namespace mumoe::train {
namespace {

TEST(StopSignals, AskToStopAndAnEchoDoesNoHarm) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) {
    StopSignals signals;
    signals.saving();
    EXPECT_FALSE(signals.requested());
    std::raise(signal);
    EXPECT_TRUE(signals.requested());
    // timeout(1) and launchers send it to the process and to its group.
    std::raise(signal);
    EXPECT_TRUE(signals.requested());
  }
}

TEST(StopSignals, BeforeThereIsAnythingToSaveOnlyARequestIsOne) {
  const StopSignals signals;
  std::raise(SIGUSR1);
  EXPECT_TRUE(signals.requested());
}

TEST(StopSignals, AClosedTerminalIsNoRequestUnderNohup) {
  std::signal(SIGHUP, SIG_IGN);
  {
    StopSignals signals;
    signals.saving();
    std::raise(SIGHUP);
    EXPECT_FALSE(signals.requested());
  }
  EXPECT_EQ(std::signal(SIGHUP, SIG_DFL), SIG_IGN) << "it must stay ignored";
}

TEST(StopSignals, OutputThatNobodyReadsDoesNotEndARunThatCanSave) {
  {
    StopSignals signals;
    signals.saving();
    std::raise(SIGPIPE);
    EXPECT_FALSE(signals.requested());
  }
  // What is buffered is written once more when the process exits.
  EXPECT_EQ(std::signal(SIGPIPE, SIG_DFL), SIG_IGN);
}

TEST(StopSignalsDeathTest, BeforeThereIsAnythingToSaveOthersEndTheProcess) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    EXPECT_EXIT(
        {
          const StopSignals signals;
          std::raise(signal);
        },
        ::testing::KilledBySignal(signal),
        "");
  }
}

TEST(StopSignalsDeathTest, ALaterInterruptEndsTheProcess) {
  EXPECT_EXIT(
      {
        StopSignals signals;
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

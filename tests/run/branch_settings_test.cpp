// The keys of warm-up, stable, decay, and of runs that branch off another.
#include <gtest/gtest.h>

#include "run/command_line.h"
#include "run/notes.h"
#include "run/option_table.h"
#include "run/resume.h"
#include "tests/run/refusal.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

Options with(const std::vector<std::string>& arguments) {
  return read_command_line(arguments).options;
}

TEST(WarmUpStableDecay, AFifthOfTheScheduleDecays) {
  const auto decay = [](const std::vector<std::string>& arguments) {
    auto all = arguments;
    all.emplace_back("--schedule.kind=wsd");
    return with(all).schedule.decay;
  };
  EXPECT_EQ(decay({"--train.steps=1000"}), 200);
  EXPECT_EQ(decay({"--train.steps=1000", "--schedule.steps=500"}), 100);
  EXPECT_EQ(decay({"--train.steps=1000", "--schedule.decay=70"}), 70);
  EXPECT_EQ(decay({"--train.steps=1000", "--schedule.decay=0"}), 0);
  // What the warm-up leaves.
  EXPECT_EQ(decay({"--train.steps=100", "--schedule.warmup=90"}), 10);
  EXPECT_EQ(decay({"--train.steps=3"}), 0);
  const std::string refused = refusal({"--schedule.kind=wsd",
                                       "--train.steps=100",
                                       "--schedule.warmup=60",
                                       "--schedule.decay=50"});
  EXPECT_EQ(refused.find("schedule.decay = 50: expected 0 to 40, what "
                         "schedule.warmup = 60 leaves"),
            0u)
      << refused;
  EXPECT_NE(refusal({"--schedule.decay=-1"}).find("or auto"),
            std::string::npos);
}

TEST(WarmUpStableDecay, FollowsAnEpochsSteps) {
  const Options open =
      with({"--schedule.kind=wsd", "--train.epochs=2", "--train.batch=10"});
  EXPECT_EQ(to_map(open).at("schedule.decay"), "auto");
  EXPECT_EQ(with_steps(open, 500).schedule.decay, 20);
}

// Checkpoints of versions without the key, and of other kinds, still resume.
TEST(WarmUpStableDecay, IsNoMatterOfOtherSchedules) {
  const Options cosine = with({"--train.steps=100"});
  EXPECT_EQ(to_map(cosine).at("schedule.decay"), "auto");
  auto older = settings_of(cosine);
  older.erase("schedule.decay");
  EXPECT_NO_THROW(check_resumable(older, settings_of(cosine), {}, "run"));
  const auto line =
      read_command_line({"--train.steps=100", "--schedule.decay=9"});
  const auto notes = notes_on(line.options, line.origins);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0],
            "schedule.decay: without effect, since schedule.kind is not wsd");
}

TEST(WarmUpStableDecay, AResumedRunKeepsItsDecay) {
  const auto stored =
      settings_of(with({"--schedule.kind=wsd", "--train.steps=100"}));
  const Options longer =
      with({"--schedule.kind=wsd", "--train.steps=300", "--train.resume=yes"});
  const Replayed replayed = replay(longer, stored);
  EXPECT_EQ(replayed.options.schedule.steps, 100);
  EXPECT_EQ(replayed.options.schedule.decay, 20);
  expect_input_error(
      [&] {
        const Options other = with({"--schedule.kind=wsd",
                                    "--train.steps=100",
                                    "--schedule.decay=10"});
        check_resumable(stored, settings_of(other), {}, "run");
      },
      {"--train.resume: schedule.decay is 10, but the run in run has 20; give "
       "the same value or auto, or --train.force schedule.decay"});
}

TEST(Branch, HasAScheduleThatEndsOtherwise) {
  const auto stored = settings_of(with({"--schedule.kind=constant",
                                        "--schedule.warmup=auto",
                                        "--train.steps=1000",
                                        "--train.gemm=mkl"}));
  const Options asked = with({"--schedule.kind=wsd",
                              "--schedule.warmup=auto",
                              "--schedule.min_lr=0",
                              "--train.steps=500",
                              "--train.branch=run"});
  EXPECT_TRUE(branches(asked));
  const Replayed replayed = replay(asked, stored);
  EXPECT_EQ(replayed.options.schedule.steps, 500);
  EXPECT_EQ(replayed.options.schedule.decay, 100);
  // The rest is taken over, and compared.
  EXPECT_EQ(replayed.options.schedule.warmup, 100);
  EXPECT_EQ(replayed.options.gemm, GemmChoice::mkl);
  const auto now = settings_of(replayed.options);
  EXPECT_TRUE(check_resumable(stored, now, {}, "run", true).empty());
  EXPECT_THROW(check_resumable(stored, now, {}, "run"), InputError);
  for (const char* other :
       {"--optimizer.lr=1", "--train.seed=9", "--schedule.warmup=7"}) {
    SCOPED_TRACE(other);
    Options changed = with({"--schedule.kind=wsd",
                            "--train.steps=500",
                            "--train.branch=run",
                            other});
    changed = replay(changed, stored).options;
    expect_input_error(
        [&] { check_resumable(stored, settings_of(changed), {}, "run", true); },
        {"--train.branch: ", "but the run in run has"});
  }
}

TEST(Branch, KnowsTheScheduleOfACheckpoint) {
  const Options options = with({"--schedule.kind=wsd",
                                "--optimizer.lr=0.00061",
                                "--schedule.min_lr=1e-5",
                                "--schedule.decay=30",
                                "--train.steps=123"});
  const auto found = schedule_of(settings_of(options));
  EXPECT_EQ(found.kind, options.schedule.kind);
  EXPECT_EQ(found.lr, options.schedule.lr);
  EXPECT_EQ(found.min_lr, options.schedule.min_lr);
  EXPECT_EQ(found.warmup, options.schedule.warmup);
  EXPECT_EQ(found.steps, 123);
  EXPECT_EQ(found.decay, 30);
}

TEST(Branch, TakesTheSettingsOfItsRun) {
  const ScratchFolder folder;
  const auto run = folder.path() / "stable";
  Options stable = with({"--schedule.kind=wsd",
                         "--schedule.warmup=auto",
                         "--model.width=192",
                         "--model.heads=4",
                         "--train.steps=1000",
                         "--train.from=weights",
                         "--log.trace=trace.json"});
  stable.trainer.out = run;
  stable.keep = Keep::folder;
  folder.write("stable/config.cfg", to_config_text(stable));
  const auto checkpoint = run / "checkpoints" / "step_00000100";
  std::filesystem::create_directories(checkpoint);
  for (const auto& named :
       {checkpoint, run, checkpoint / "manifest.json", run / ""}) {
    SCOPED_TRACE(named);
    const auto line = read_run({"--train.branch=" + named.string(),
                                "--train.steps=500",
                                "--train.out=branch"});
    EXPECT_EQ(std::filesystem::absolute(line.config).lexically_normal(),
              run / "config.cfg");
    const Options& o = line.options;
    EXPECT_EQ(o.model.width, 192);
    EXPECT_EQ(o.schedule.kind, ScheduleKind::wsd);
    EXPECT_EQ(o.schedule.steps, 500);
    EXPECT_EQ(o.schedule.decay, 100);
    EXPECT_EQ(o.schedule.warmup, 100);
    EXPECT_EQ(o.branch, named);
    EXPECT_EQ(o.trainer.out, "branch");
    EXPECT_TRUE(o.from.empty());
    EXPECT_TRUE(o.trace.empty());
  }
  // Not told where, it is kept in a folder of its own.
  EXPECT_EQ(read_run({"--train.branch=" + run.string()}).options.keep,
            Keep::numbered);
  expect_input_error(
      [&] { read_run({"--train.branch=" + folder.path().string() + "/gone"}); },
      {"--train.branch ",
       "gone: the config.cfg of its run is not there",
       "expected --config FILE"});
}

}  // namespace
}  // namespace mumoe::run

#include <gtest/gtest.h>

#include "base/file.h"
#include "run/command_line.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tests/support/source_folder.h"

// Where the settings of a run come from.

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using testing::expect_input_error;
using testing::ScratchFolder;

/// A run in `folder`, with a checkpoint if `saved`.
std::string write_run(const ScratchFolder& folder,
                      const std::string& config,
                      bool saved = true) {
  folder.write("run/config.cfg", config);
  if (saved) {
    folder.write("run/checkpoints/step_00000007/state.safetensors", "");
  }
  return (folder.path() / "run").string();
}

TEST(ReadRun, WithoutAConfigurationIsTheDefaultRecipe) {
  const fs::path recipe =
      fs::path(testing::source_folder()) / "configs/gpt2_cp_small.cfg";
  const auto line = read_run({});
  EXPECT_TRUE(line.default_recipe);
  EXPECT_EQ(line.config, "");
  EXPECT_EQ(line.origins.at("model.depth"), "default recipe");
  EXPECT_EQ(to_map(line.options),
            to_map(read_command_line({"--config", recipe.string()}).options));
  EXPECT_EQ(read_run({"--model.depth", "3"}).options.model.depth, 3);
}

// What a file does not say is not the recipe's.
TEST(ReadRun, AConfigurationStandsOnItsOwn) {
  const ScratchFolder folder;
  const std::string file =
      folder.write("mine.cfg", "[train]\nsteps = 7\n").string();
  const auto line = read_run({"--config", file});
  EXPECT_FALSE(line.default_recipe);
  EXPECT_EQ(line.config, file);
  EXPECT_EQ(to_map(line.options),
            to_map(read_command_line({"--train.steps", "7"}).options));
}

TEST(ReadRun, ARunThatGoesOnTakesItsOwnConfiguration) {
  const ScratchFolder folder;
  const std::string run =
      write_run(folder,
                "[model]\ndepth = 3\n[train]\nout = elsewhere\nsteps = 9\n");
  for (const char* resume :
       {"--train.resume", "--train.resume=yes", "--train.resume=auto"}) {
    const auto line = read_run({"--train.out", run, resume, "--train.steps=8"});
    EXPECT_TRUE(line.own_config);
    EXPECT_EQ(line.config, run + "/config.cfg");
    EXPECT_EQ(line.origins.at("model.depth"), run + "/config.cfg");
    EXPECT_EQ(line.origins.at("train.steps"), "command line");
    EXPECT_EQ(line.options.model.depth, 3);
    EXPECT_EQ(line.options.trainer.steps, 8);
    EXPECT_EQ(line.options.trainer.out, run);
  }
  EXPECT_TRUE(read_run({"--train.out", run}).default_recipe);
  EXPECT_TRUE(
      read_run({"--train.out", run, "--train.resume", "no"}).default_recipe);
  const std::string other =
      folder.write("other.cfg", "[model]\ndepth = 5\n").string();
  const auto line =
      read_run({"--train.out", run, "--train.resume", "--config", other});
  EXPECT_FALSE(line.own_config);
  EXPECT_EQ(line.options.model.depth, 5);
}

TEST(ReadRun, ARunWithoutItsConfigurationIsNotGuessed) {
  const ScratchFolder folder;
  const std::string run = write_run(folder, "");
  const auto refuse = [&](const std::string& part) {
    for (const char* resume : {"--train.resume", "--train.resume=auto"}) {
      expect_input_error(
          [&] {
            read_run({"--train.out", run, resume});
          },
          {run + "/config.cfg", part});
    }
  };
  refuse("holds no settings");
  fs::remove(run + "/config.cfg");
  refuse("expected --config FILE");
  fs::create_directory(run + "/config.cfg");
  refuse("cannot read");
  fs::remove(run + "/config.cfg");
  fs::create_symlink("nowhere", run + "/config.cfg");
  refuse("cannot read");
  // Nothing to go on from: a new run.
  fs::remove_all(run);
  EXPECT_TRUE(
      read_run({"--train.out", run, "--train.resume=auto"}).default_recipe);
  // One that ended before its first checkpoint.
  EXPECT_TRUE(read_run({"--train.out",
                        write_run(folder, "[model]\ndepth = 3\n", false),
                        "--train.resume=auto"})
                  .own_config);
}

TEST(ReadRun, WhereItIsKeptIsAWordOrAFolder) {
  const auto out = [](const std::string& word) {
    return read_run({"--train.out", word}).options;
  };
  EXPECT_EQ(read_run({}).options.keep, Keep::numbered);
  EXPECT_EQ(to_map(read_run({}).options).at("train.out"), "auto");
  EXPECT_EQ(out("auto").keep, Keep::numbered);
  EXPECT_EQ(out("none").keep, Keep::nothing);
  EXPECT_EQ(out("none").trainer.out, "");
  EXPECT_EQ(out("./none").trainer.out, "./none");
  for (const char* word : {"auto", "none", "some where", "./auto"}) {
    EXPECT_EQ(to_map(out(word)).at("train.out"), word);
    EXPECT_EQ(to_map(options_from(to_map(out(word)), "again")),
              to_map(out(word)));
  }
  expect_input_error([&] { out(""); },
                     {"train.out", "a folder, auto (runs/NAME-1"});
  for (const char* word : {"yes", "no", "auto"}) {
    EXPECT_EQ(
        to_map(read_run({"--train.out=nowhere/at/all", "--train.resume", word})
                   .options)
            .at("train.resume"),
        word);
  }
}

}  // namespace
}  // namespace mumoe::run

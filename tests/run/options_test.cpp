#include "run/options.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "run/command_line.h"
#include "run/option_table.h"
#include "run/resume.h"
#include "tests/run/refusal.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

void expect_contains(const std::string& text,
                     const std::vector<std::string>& parts) {
  for (const auto& part : parts) {
    EXPECT_NE(text.find(part), std::string::npos)
        << "\"" << part << "\" in: " << text;
  }
  EXPECT_EQ(text.find('\n'), std::string::npos) << "one line: " << text;
}

class ConfigFile : public ::testing::Test {
 protected:
  std::string write(const std::string& text) {
    write_file_atomically(path_, text);
    return path_.string();
  }
  void TearDown() override { std::filesystem::remove(path_); }
  std::filesystem::path path_ = std::filesystem::temp_directory_path() /
                                fmt::format("mumoe_options_{}.cfg", ::getpid());
};

TEST_F(ConfigFile, CommandLineWinsAndOriginsAreKept) {
  const auto file = write(
      "# comment\n[model]\ndepth = 3\nwidth = 96\nheads = 4\n"
      "[train]\nsteps = 7\n");
  const auto line = read_command_line({"--config",
                                       file,
                                       "--model.depth",
                                       "5",
                                       "--model.experts=4,2",
                                       "--train.resume"});
  EXPECT_EQ(line.options.model.depth, 5);
  EXPECT_EQ(line.options.model.width, 96);
  EXPECT_EQ(line.options.model.mlp.hidden_dim, 384);
  EXPECT_EQ(line.options.model.vocab, 256);
  EXPECT_EQ(line.options.schedule.steps, 7);
  EXPECT_EQ(line.options.model.mlp.experts, (std::vector<std::int64_t>{4, 2}));
  EXPECT_EQ(line.options.resume, Resume::yes);
  EXPECT_EQ(line.origins.at("model.depth"), "command line");
  EXPECT_EQ(line.origins.at("model.width"), file);
  const auto text = to_config_text(line.options, &line.origins);
  EXPECT_NE(text.find("depth = 5"), std::string::npos);
  EXPECT_NE(text.find("# command line"), std::string::npos);
  EXPECT_NE(text.find("# default"), std::string::npos);
}

// It changes rounding alone: a resumed run may choose anew.
TEST(CommandLine, DeterminismIsTheDefaultAndFreeOnResume) {
  EXPECT_TRUE(read_command_line({}).options.deterministic);
  const auto options =
      read_command_line({"--train.deterministic", "no"}).options;
  EXPECT_FALSE(options.deterministic);
  EXPECT_EQ(to_map(options).at("train.deterministic"), "no");
  EXPECT_FALSE(settings_of(options).contains("train.deterministic"));
}

TEST_F(ConfigFile, ResolvedTextReadsBackTheSame) {
  const std::vector<std::vector<std::string>> lines = {
      {"--optimizer.lr=0.00061",
       "--train.precision=bf16",
       "--train.micro_batch=4",
       "--data.tokenizer=gpt2",
       "--model.gate_norm=none",
       "--train.out=some where"},
      {"--model.mlp=tr", "--model.rank=paper"},
      {"--model.mlp=tt", "--model.experts=16,4", "--model.level_noise=0.5"},
      {"--model.mlp=tucker", "--model.rank=3,20,21", "--train.recompute"},
      {"--model.gate=top_k", "--model.gate_top_k=7", "--train.mixing=sparse"},
      {"--model.gate=softmax", "--train.gemm=mkl", "--model.mlp=dense"}};
  for (const auto& arguments : lines) {
    SCOPED_TRACE(arguments[0]);
    const Options options = read_command_line(arguments).options;
    const Options again = read_config(write(to_config_text(options)));
    EXPECT_EQ(to_map(again), to_map(options));
    EXPECT_EQ(again.model.mlp.ranks, options.model.mlp.ranks);
    EXPECT_EQ(again.model.gemm, options.model.gemm);
    EXPECT_EQ(again.model.block().form, options.model.block().form);
  }
}

TEST_F(ConfigFile, MistakesInFilesNameTheFile) {
  expect_contains(refusal({"--config", write("[model]\nwidht = 8\n")}),
                  {path_.string(), "model.widht", "model.width"});
  expect_contains(refusal({"--config", write("[model]\nwidth = big\n")}),
                  {path_.string(), "model.width", "big", "a whole number"});
  expect_contains(refusal({"--config", write("[model\nwidth = 8\n")}),
                  {path_.string()});
  expect_contains(refusal({"--config", "/nonexistent.cfg"}),
                  {"/nonexistent.cfg"});
}

TEST(CommandLine, SwitchesTakeAValueOrNone) {
  EXPECT_TRUE(read_command_line({"--model.bias"}).options.model.bias);
  EXPECT_TRUE(read_command_line({"--model.bias", "yes"}).options.model.bias);
  EXPECT_FALSE(read_command_line({"--model.expert_bias", "no"})
                   .options.model.mlp.expert_bias);
  EXPECT_FALSE(read_command_line({"--model.expert_bias=0"})
                   .options.model.mlp.expert_bias);
}

TEST(CommandLine, MistakesAreOneLineThatNamesTheKey) {
  expect_contains(refusal({"--trian.steps", "5"}),
                  {"command line", "trian.steps", "train.steps"});
  expect_contains(refusal({"--train.steps", "five"}),
                  {"train.steps", "five", "a whole number"});
  expect_contains(refusal({"--train.steps", "5.5"}), {"a whole number"});
  expect_contains(refusal({"--train.steps", "99999999999999999999"}),
                  {"train.steps"});
  expect_contains(refusal({"--optimizer.lr", "-1"}), {"optimizer.lr"});
  expect_contains(refusal({"--optimizer.lr", "nan"}), {"optimizer.lr"});
  expect_contains(refusal({"--model.mlp", "moe"}),
                  {"model.mlp = moe", "dense, cp, tr, tt, tucker"});
  expect_contains(refusal({"--train.gemm", "cublas"}),
                  {"train.gemm = cublas", "auto, mkl, onednn"});
  expect_contains(refusal({"--train.mixing", "often"}),
                  {"train.mixing = often", "auto, dense, sparse"});
  expect_contains(refusal({"--train.recompute", "often"}),
                  {"train.recompute = often", "yes or no"});
  expect_contains(refusal({"--model.heads", "5"}), {"model.heads"});
  expect_contains(refusal({"--model.experts", "4,,2"}), {"model.experts"});
  expect_contains(refusal({"--train.resume", "maybe"}), {"yes or no"});
  expect_contains(refusal({"train.steps", "5"}), {"command line"});
  expect_contains(refusal({"--train.steps"}), {"train.steps"});
  expect_contains(refusal({"--schedule.warmup", "900"}), {"schedule.warmup"});
  expect_contains(refusal({"--parallel.deadline", "inf"}), {"finite"});
  expect_contains(refusal({"--parallel.deadline", "0.1"}), {"1000000 seconds"});
}

TEST(CommandLine, MembersOfConfigurationsAreCalledByTheirKeys) {
  expect_contains(refusal({"--checkpoint.keep=0"}),
                  {"checkpoint.keep = 0: expected at least 1"});
  expect_contains(refusal({"--optimizer.lr=0"}),
                  {"optimizer.lr = 0: expected a positive number"});
  expect_contains(refusal({"--optimizer.beta2=1"}),
                  {"optimizer.beta2 = 1: expected at least 0 and below 1"});
  expect_contains(refusal({"--schedule.min_lr=1"}), {"schedule.min_lr = 1: "});
  for (const Key& key : option_table()) {
    EXPECT_EQ(find_key_of_member(key.text.member)->name, key.name);
  }
}

TEST(CommandLine, SubcommandsTakeWhatIsTheirs) {
  const std::vector<OwnOption> own{{"temperature", "X", "of the draws"}};
  EXPECT_EQ(
      read_command_line({"--temperature", "1"}, "", own).own.at("temperature"),
      "1");
  expect_contains(refusal({"--temprature", "1"}, "", own),
                  {"mean temperature"});
  expect_contains(refusal({"--model.depth", "1"}, "", own), {"unknown key"});
  expect_contains(refusal({"--model.depth", "1"}, "data", own),
                  {"unknown key"});
  EXPECT_EQ(refusal({"--data.source", "here"}, "data", own), "(accepted)");
}

TEST(Settings, ThePlanIsSequenceUnlessAskedOtherwise) {
  EXPECT_EQ(read_command_line({}).options.parallel.plan, Plan::sequence);
  EXPECT_EQ(to_map(read_command_line({}).options).at("parallel.plan"),
            "sequence");
  const auto given = [](const std::string& plan) {
    return read_command_line({"--parallel.plan=" + plan}).options;
  };
  EXPECT_EQ(given("rank").parallel.plan, Plan::rank);
  EXPECT_EQ(given("auto").parallel.plan, std::nullopt);
  EXPECT_EQ(to_map(given("auto")).at("parallel.plan"), "auto");
  expect_contains(refusal({"--parallel.plan=ring"}),
                  {"parallel.plan = ring",
                   "expected one of: auto, sequence, bottleneck, rank"});
}

TEST(Settings, APlanIsReplayedForAsManyRanks) {
  const std::map<std::string, std::string> stored = {
      {"parallel.tp", "2"},
      {"parallel.plan", "bottleneck"}};
  const auto resumed = [&](const std::vector<std::string>& arguments) {
    const Options options = read_command_line(arguments).options;
    return replay(options, stored).options.parallel.plan;
  };
  EXPECT_EQ(resumed({"--parallel.tp=2", "--parallel.plan=auto"}),
            Plan::bottleneck);
  EXPECT_EQ(resumed({"--parallel.tp=4", "--parallel.plan=auto"}), std::nullopt);
  EXPECT_EQ(resumed({"--parallel.tp=2"}), Plan::sequence);
}

TEST(Settings, WhatMattersToAResumedRunIsCompared) {
  Options options = read_command_line({}).options;
  DataFacts data;
  data.train.hash = "a";
  const auto stored = settings_of(options, data);
  EXPECT_NO_THROW(check_resumable(stored, stored, {}, "run"));
  // Where it runs, how long and what it prints do not matter.
  Options other = options;
  other.trainer.steps += 10;
  other.trainer.log_every = 3;
  other.trainer.micro_batch = 2;
  other.parallel.dp = 2;
  EXPECT_NO_THROW(check_resumable(stored, settings_of(other, data), {}, "run"));
  const auto expect_refused = [&](auto change, const std::string& key) {
    Options changed = options;
    change(changed);
    try {
      check_resumable(stored, settings_of(changed, data), {}, "run");
      FAIL() << key;
    } catch (const InputError& error) {
      expect_contains(error.what(), {key});
    }
  };
  expect_refused([](Options& o) { o.model.depth = 2; }, "model.depth");
  expect_refused([](Options& o) { o.trainer.batch = 32; }, "train.batch");
  expect_refused([](Options& o) { o.trainer.seed = 9; }, "train.seed");
  expect_refused([](Options& o) { o.schedule.lr = 5e-4; }, "optimizer.lr");
  expect_refused([](Options& o) { o.precision = Precision::fp64; },
                 "train.precision");
  expect_refused([](Options& o) { o.gemm = GemmChoice::mkl; }, "train.gemm");
  expect_refused([](Options& o) { o.model.mlp.mixing = Mixing::sparse; },
                 "train.mixing");
  expect_refused([](Options& o) { o.model.mlp.ranks = {5}; }, "model.rank");
  expect_refused([](Options& o) { o.model.set_mlp("tt"); }, "model.mlp");
  expect_refused([](Options& o) { o.model.mlp.level_noise = 1; },
                 "model.level_noise");
  expect_refused([](Options& o) { o.model.mlp.gate.top_k = 1; },
                 "model.gate_top_k");
  // Ranks, hidden width and vocabulary follow from others: those are named.
  const auto expect_named = [&](const std::string& argument,
                                const std::string& key) {
    const Options changed = read_command_line({argument}).options;
    try {
      check_resumable(stored, settings_of(changed, data), {}, "run");
      FAIL() << key;
    } catch (const InputError& error) {
      expect_contains(error.what(), {"--train.resume: " + key + " is"});
    }
  };
  expect_named("--model.width=384", "model.width");
  expect_named("--model.bias=yes", "model.bias");
  expect_named("--model.experts=32", "model.experts");
  expect_named("--data.tokenizer=gpt2", "data.tokenizer");
  expect_named("--model.hidden=1000", "model.rank");
  data.train.hash = "b";
  EXPECT_THROW(check_resumable(stored, settings_of(options, data), {}, "run"),
               InputError);
}

TEST(Settings, WhatIsForcedByNameMayDiffer) {
  using Keys = std::set<std::string>;
  const Options options = read_command_line({}).options;
  DataFacts data;
  data.train.hash = "a";
  const auto stored = settings_of(options, data);
  const auto changed = [&](const std::string& force,
                           const std::string& argument,
                           const char* hash) {
    const Options other =
        read_command_line({argument, "--train.force=" + force}).options;
    DataFacts others;
    others.train.hash = hash;
    return check_resumable(stored,
                           settings_of(other, others),
                           forced_keys(other),
                           "run");
  };
  const std::string lr = "--optimizer.lr=1e-5";
  EXPECT_EQ(changed("optimizer.lr", lr, "a"), Keys{"optimizer.lr"});
  EXPECT_EQ(changed("data.source,optimizer.lr,train.seed", lr, "b"),
            (Keys{"data.source", "optimizer.lr"}));
  EXPECT_EQ(changed("optimizer.lr", "--log.every=7", "a"), Keys{});
  const auto refused = [&](const std::string& force,
                           const std::string& argument,
                           const std::string& text) {
    testing::expect_input_error([&] { changed(force, argument, "a"); }, {text});
  };
  refused("optimizer.beta1", lr, "or --train.force optimizer.lr, or start");
  refused("model.width", "--model.width=384", "train.force = model.width: the");
  refused("optimizer.lrr", lr, "train.force = optimizer.lrr: no key");
  refused("train.steps", lr, "train.force = train.steps: may be changed");
  EXPECT_TRUE(change_samples({"data.source"}));
  EXPECT_TRUE(change_samples({"optimizer.lr", "train.batch"}));
  EXPECT_FALSE(change_samples({"optimizer.lr"}));
}

TEST(Settings, ChangesAreListed) {
  const Options options = read_command_line({}).options;
  Options other = options;
  other.trainer.steps = 7;
  other.trainer.out = "elsewhere";
  EXPECT_EQ(changed_settings(to_map(options), to_map(other)),
            (std::vector<std::string>{fmt::format("train.steps = 7, was {}",
                                                  options.trainer.steps)}));
}

}  // namespace
}  // namespace mumoe::run

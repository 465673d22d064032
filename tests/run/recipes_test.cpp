// Recipes under the keys that people change, and what is said of settings that
// do not fit together.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/file.h"
#include "dist/self_communicator.h"
#include "model/families.h"
#include "mumoe/rank_matching.h"
#include "run/command_line.h"
#include "run/notes.h"
#include "run/option_table.h"
#include "run/resume.h"
#include "tests/support/errors.h"
#include "tests/support/source_folder.h"

namespace mumoe::run {
namespace {

using Arguments = std::vector<std::string>;

const Arguments kRecipes = {"gpt2_cp_small.cfg",
                            "gpt2_dense_small.cfg",
                            "gpt2_124m_dense.cfg",
                            "gpt2_124m_cp.cfg",
                            "gpt2_124m_tr.cfg",
                            "gpt2_bpe_dense.cfg",
                            "gpt2_bpe_cp.cfg",
                            "gpt2_bpe_tr.cfg"};

/// As a run has it that found as many samples as Fashion-MNIST has.
CommandLine recipe(const std::string& name, Arguments changes = {}) {
  changes.push_back("--config=" + std::string(testing::source_folder()) +
                    "/configs/" + name);
  auto line = read_command_line(changes);
  line.options = with_steps(line.options, 60'000);
  return line;
}

std::vector<std::string> notes_of(const CommandLine& line) {
  return notes_on(line.options, line.origins);
}

std::string joined(const std::vector<std::string>& notes) {
  std::string text;
  for (const auto& note : notes) text += note + "\n";
  return text;
}

void expect_notes(const Arguments& arguments, const Arguments& parts) {
  const auto notes = joined(notes_of(read_command_line(arguments)));
  for (const auto& part : parts) {
    EXPECT_NE(notes.find(part), std::string::npos)
        << "\"" << part << "\" is not in: " << notes;
  }
  EXPECT_EQ(notes.empty(), parts.empty()) << notes;
}

double share_of_dense(const Options& o) {
  const auto& m = o.model;
  return static_cast<double>(MuMoEBlock::parameter_count(m.block())) /
         static_cast<double>(dense_mlp_parameters(m.width,
                                                  m.mlp.hidden_dim,
                                                  m.width,
                                                  m.bias,
                                                  true));
}

std::int64_t parameters_of(const model::ModelConfig& m,
                           const BlockConfig& block,
                           bool bias) {
  return m.dense ? dense_mlp_parameters(block.input_dim,
                                        block.hidden_dim,
                                        block.output_dim,
                                        bias,
                                        block.input_layer_norm)
                 : MuMoEBlock::parameter_count(block);
}

/// Of a GPT-2 without biases but those of its experts.
std::int64_t parameters_of_gpt2(const model::ModelConfig& m) {
  const std::int64_t width = m.width;
  return (m.vocab + m.context + 1) * width +
         m.depth *
             (4 * width * width + width + parameters_of(m, m.block(), false));
}

/// Of an MLP-Mixer with biases.
std::int64_t parameters_of_mixer(const model::ModelConfig& m) {
  const std::int64_t width = m.width;
  std::int64_t block = 4 * width;  // two norms
  for (const auto& kind : model::family("mixer").mlps(m)) {
    block += parameters_of(m, kind.block, true);
  }
  return (m.patch * m.patch * m.channels + 1) * width + m.depth * block +
         2 * width + (width + 1) * m.classes;
}

/// CP: gate and factors, the bias row among them.
std::int64_t parameters_of_head(const model::ModelConfig& m) {
  const auto experts = m.mlp.experts[0];
  return m.features * experts +
         m.mlp.ranks[0] * (experts + m.features + 1 + m.classes);
}

/// With biases and a CP head.
std::int64_t parameters_of_vit(const model::ModelConfig& m) {
  const std::int64_t width = m.width, hidden = m.mlp.hidden_dim;
  const std::int64_t inputs = m.patch * m.patch * m.channels;
  const std::int64_t front =
      (m.patches() + 2) * width + inputs * width + (m.norm_pre ? 2 : 1) * width;
  const std::int64_t block =
      4 * width + 4 * (width + 1) * width + 2 * width * hidden + hidden + width;
  model::ModelConfig head = m;
  head.features = width;
  return front + m.depth * block + 2 * width + parameters_of_head(head);
}

std::int64_t parameters_of(const Options& options) {
  if (options.family == "vit") return parameters_of_vit(options.model);
  if (options.family == "mixer") return parameters_of_mixer(options.model);
  if (options.family == "head") return parameters_of_head(options.model);
  return parameters_of_gpt2(options.model);
}

std::string with_commas(std::int64_t number) {
  std::string text = std::to_string(number);
  for (auto place = static_cast<int>(text.size()) - 3; place > 0; place -= 3) {
    text.insert(static_cast<std::size_t>(place), ",");
  }
  return text;
}

// By hand, as the head of each says, and as the model is made.
TEST(Recipes, HaveTheParametersThatTheirHeadsCount) {
  const std::map<std::string, std::int64_t> counts = {
      {"gpt2_cp_small.cfg", 3'389'752},
      {"gpt2_dense_small.cfg", 3'393'792},
      {"gpt2_124m_dense.cfg", 124'373'760},
      {"gpt2_124m_cp.cfg", 124'789'536},
      {"gpt2_124m_tr.cfg", 125'159'136},
      {"gpt2_bpe_dense.cfg", 7'259'264},
      {"gpt2_bpe_cp.cfg", 7'258'936},
      {"gpt2_bpe_tr.cfg", 7'248'224},
      {"head_clip_b32_cp.cfg", 769'521},
      {"head_fashion_cp.cfg", 770'260},
      {"vit_b32_clip_cp.cfg", 88'225'521},
      {"vit_small_fashion.cfg", 208'352},
      {"mixer_fashion_dense.cfg", 337'546},
      {"mixer_fashion_cp.cfg", 334'818},
      {"mixer_fashion_tr.cfg", 335'850},
      {"mixer_s16_dense.cfg", 18'528'264},
      {"mixer_s16_cp.cfg", 18'630'616},
      {"mixer_s16_tr.cfg", 18'290'792}};
  const auto folder = std::string(testing::source_folder()) + "/configs";
  std::size_t found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".cfg") continue;
    ++found;
    const std::string name = entry.path().filename();
    ASSERT_TRUE(counts.contains(name)) << name;
    const auto count = counts.at(name);
    const auto line = recipe(name);
    const auto& options = line.options;
    EXPECT_EQ(parameters_of(options), count) << name;
    const auto self = dist::make_self_communicator(at::kCPU);
    dist::ParameterRegistry registry(*self, at::kFloat, at::kMeta);
    const auto model = model::family(options.family)
                           .make(options.model, registry, {}, nullptr);
    EXPECT_EQ(registry.global_numel(), count) << name;
    EXPECT_EQ(joined(notes_of(line)), "") << name;
    const auto text = read_file(entry.path());
    const auto place = text.find("in all    ");
    ASSERT_NE(place, text.npos) << name;
    EXPECT_NE(text.substr(place, 70).find(with_commas(count)), text.npos)
        << name;
  }
  EXPECT_EQ(found, counts.size());
}

// The same run but for the MLPs.
TEST(Recipes, OfOneStudyDifferInTheirMlpsAlone) {
  for (const std::string study :
       {"gpt2_124m_", "gpt2_bpe_", "mixer_s16_", "mixer_fashion_"}) {
    auto settings = to_map(recipe(study + "dense.cfg").options);
    for (const std::string mlp : {"cp", "tr"}) {
      for (const auto& [key, value] :
           to_map(recipe(study + mlp + ".cfg").options)) {
        const bool of_mlp = key == "model.mlp" ||
                            key.starts_with("model.expert") ||
                            key == "model.rank" || key == "model.token_rank" ||
                            key.starts_with("model.gate");
        if (of_mlp) continue;
        EXPECT_EQ(value, settings[key]) << study << mlp << key;
      }
    }
  }
}

TEST(Recipes, AreWhatTheyWere) {
  const Options small = recipe("gpt2_cp_small.cfg").options;
  EXPECT_EQ(small.model.mlp.ranks, (std::vector<std::int64_t>{199}));
  EXPECT_EQ(small.schedule.steps, 500);
  EXPECT_EQ(small.schedule.warmup, 50);
  EXPECT_EQ(small.schedule.min_lr, 1e-4);
  const Options large = recipe("gpt2_124m_cp.cfg").options;
  EXPECT_EQ(large.model.mlp.ranks, (std::vector<std::int64_t>{556}));
  EXPECT_EQ(large.schedule.steps, 100'000);
  EXPECT_EQ(large.schedule.warmup, 2000);
  EXPECT_EQ(large.schedule.min_lr, 6e-5);
  EXPECT_EQ(recipe("gpt2_124m_tr.cfg").options.model.mlp.ranks,
            (std::vector<std::int64_t>{4, 4, 149}));
  const Options dense = recipe("gpt2_dense_small.cfg").options;
  EXPECT_EQ(dense.schedule.warmup, 50);
  EXPECT_EQ(dense.schedule.min_lr, 1e-4);
  for (const auto& name : kRecipes) {
    EXPECT_EQ(joined(notes_of(recipe(name))), "") << name;
  }
}

// Whatever is changed, the mixture stays as large as a dense MLP, the schedule
// ends with the run, and nobody has to be told.
TEST(Recipes, FollowWhatIsChanged) {
  const std::vector<Arguments> changes = {
      {"--model.mlp=cp"},
      {"--model.mlp=tr"},
      {"--model.mlp=tt"},
      {"--model.mlp=tucker"},
      {"--model.mlp=dense"},
      {"--model.mlp=cp", "--model.experts=16,16"},
      {"--model.mlp=tr", "--model.experts=8,8,4"},
      {"--model.mlp=cp", "--model.experts=32"},
      {"--model.mlp=cp", "--model.bias=yes"},
      {"--model.mlp=cp",
       "--model.width=512",
       "--model.heads=8",
       "--model.hidden=auto"},
      {"--model.depth=2"},
      {"--model.context=64"},
      {"--model.mlp=cp", "--model.gate=softmax"},
      {"--model.mlp=cp", "--model.gate=top_k", "--model.gate_top_k=2"},
      {"--train.precision=fp32"},
      {"--data.tokenizer=gpt2"},
      {"--data.tokenizer=bytes"},
      {"--optimizer.lr=1e-5"},
      {"--train.batch=8"},
      {"--parallel.tp=2"},
  };
  for (const auto& name : kRecipes) {
    for (const auto& change : changes) {
      SCOPED_TRACE(name + " " + change.front());
      const auto line = recipe(name, change);
      const Options& o = line.options;
      if (!o.model.dense) {
        EXPECT_GT(share_of_dense(o), 0.8);
        EXPECT_LT(share_of_dense(o), 1.15);
      }
      EXPECT_EQ(o.schedule.steps, o.trainer.steps);
      EXPECT_LT(o.schedule.min_lr, o.schedule.lr);
      EXPECT_EQ(joined(notes_of(line)), "");
    }
    for (const std::int64_t steps : {1, 20, 60, 2000, 1'000'000}) {
      const Options o =
          recipe(name, {"--train.steps=" + std::to_string(steps)}).options;
      EXPECT_EQ(o.schedule.steps, steps);
      EXPECT_LE(10 * o.schedule.warmup, steps);
    }
  }
}

TEST(Recipes, WhatTheyKeepIsNamedWhenItStopsFitting) {
  const auto refuse = [](const std::string& name,
                         const Arguments& changes,
                         std::initializer_list<std::string> parts) {
    testing::expect_input_error([&] { recipe(name, changes); }, parts);
  };
  refuse("gpt2_cp_small.cfg",
         {"--model.width=250"},
         {"model.heads = 4: model.width = 250 does not divide by it, but by 2 "
          "(model.heads stands in ",
          "gpt2_cp_small.cfg)"});
  refuse("gpt2_124m_cp.cfg",
         {"--model.width=512"},
         {"model.heads = 12", "by 8", "gpt2_124m_cp.cfg"});
  // What is on the command line alone is the user's.
  testing::expect_input_error(
      [&] {
        read_command_line({"--model.heads=5", "--model.width=256"});
      },
      {"does not divide by it, but by 4"});
  const auto noted =
      joined(notes_of(recipe("gpt2_dense_small.cfg", {"--model.width=512"})));
  EXPECT_NE(noted.find("model.hidden = 1080: 2.11 times model.width = 512"),
            std::string::npos)
      << noted;
  const auto late =
      joined(notes_of(recipe("gpt2_124m_cp.cfg", {"--train.steps=60"})));
  EXPECT_EQ(late,
            "train.eval_every = 1000, checkpoint.every = 1000: beyond "
            "train.steps = 60\n");
}

// A recipe as they were, and as runs leave it in config.cfg.
TEST(Notes, PinnedValuesThatStoppedFitting) {
  const Arguments fits = {"--model.experts=64",
                          "--model.width=256",
                          "--model.heads=4",
                          "--model.rank=199",
                          "--schedule.steps=500",
                          "--schedule.warmup=50"};
  expect_notes(fits, {});
  const auto with = [&](const Arguments& more) {
    Arguments all = fits;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  expect_notes(with({"--model.mlp=tr"}),
               {"model.rank = 4,4,199: ",
                " times the 524544 of a dense MLP; "
                "--model.rank auto"});
  expect_notes(with({"--model.hidden=2048"}), {});  // given, and meant
  expect_notes(with({"--train.steps=60"}),
               {"schedule.steps = 500 of train.steps = 60: the run ends before",
                "schedule.warmup = 50: more than half of train.steps = 60"});
  expect_notes(with({"--train.steps=2000"}),
               {"schedule.steps = 500 of train.steps = 2000: the last 1500 "
                "steps have the lowest learning rate, schedule.min_lr = 0",
                "--schedule.steps auto"});
  expect_notes(with({"--train.steps=2000", "--schedule.kind=constant"}),
               {"schedule.steps: without effect, since schedule.kind is "
                "constant"});
  expect_notes(with({"--model.vocab=50304"}),
               {"model.vocab = 50304: the tokenizer bytes has fewer tokens"});
  expect_notes({"--train.eval_every=1000"},
               {"train.eval_every = 1000: beyond "
                "train.steps = 500"});
}

TEST(Notes, KeysWithoutEffect) {
  expect_notes(
      {"--model.mlp=dense", "--model.experts=8", "--model.gate=softmax"},
      {"model.experts, model.gate: without effect, since model.mlp is "
       "dense"});
  expect_notes({"--model.gate_top_k=2"},
               {"model.gate_top_k: without effect, since model.gate is not "
                "top_k"});
  expect_notes({"--model.level_noise=1"},
               {"model.level_noise: without effect, since model.experts has "
                "one level"});
  // A recipe may have them for whoever changes the MLP.
  EXPECT_EQ(
      joined(notes_of(recipe("gpt2_cp_small.cfg", {"--model.mlp=dense"}))),
      "");
}

TEST(Ranks, OfThePaperWhereThereAreSome) {
  const auto rank = [](const Arguments& more) {
    Arguments all = {"--model.rank=paper,auto",
                     "--model.experts=64",
                     "--model.width=256",
                     "--model.heads=4"};
    all.insert(all.end(), more.begin(), more.end());
    return to_map(read_command_line(all).options).at("model.rank");
  };
  EXPECT_EQ(rank({}), "199");
  EXPECT_EQ(rank({"--model.mlp=tr"}), "4,4,51");
  EXPECT_EQ(rank({"--model.mlp=tt"}), "1,4,79");
  EXPECT_EQ(rank({"--model.mlp=tucker"}), "16,91,91");
  EXPECT_EQ(rank({"--model.hidden=512"}), "147");  // four times the width alone
  // Whoever asks for the authors' gets no other.
  testing::expect_input_error(
      [&] {
        rank({"--model.rank=paper", "--model.mlp=tt"});
      },
      {"more than once"});
  testing::expect_input_error(
      [&] {
        read_command_line({"--model.rank=paper", "--model.mlp=tt"});
      },
      {"model.rank = paper"});
}

TEST(Resume, ALongerRunKeepsItsSchedule) {
  const auto stored =
      settings_of(recipe("gpt2_cp_small.cfg", {"--train.steps=100"}).options);
  const Options longer =
      recipe("gpt2_cp_small.cfg", {"--train.steps=300", "--train.resume"})
          .options;
  const Replayed replayed = replay(longer, stored);
  EXPECT_EQ(replayed.options.schedule.steps, 100);
  EXPECT_EQ(replayed.options.schedule.warmup, 10);
  EXPECT_EQ(replayed.options.trainer.steps, 300);
  EXPECT_EQ(replayed.reasons.front(),
            "schedule.warmup auto: 10, as the checkpoint has it");
  EXPECT_NO_THROW(
      check_resumable(stored, settings_of(replayed.options), {}, "run"));
  const auto notes = notes_on(replayed.options, {});
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0].find("schedule.steps = 100 of train.steps = 300: the last "
                          "200 steps have the lowest"),
            0u);
  EXPECT_NE(notes[0].find("in a new run --schedule.steps auto"),
            std::string::npos)
      << notes[0];
  // The same run again has nothing to be told.
  EXPECT_EQ(
      replay(recipe("gpt2_cp_small.cfg", {"--train.steps=100"}).options, stored)
          .reasons,
      replay(longer, settings_of(longer)).reasons);
  // A schedule that is given must be the run's own, and the way out is named.
  const Options other =
      recipe("gpt2_cp_small.cfg", {"--train.steps=300", "--schedule.steps=300"})
          .options;
  testing::expect_input_error(
      [&] {
        check_resumable(stored,
                        settings_of(replay(other, stored).options),
                        {},
                        "r");
      },
      {"schedule.steps is 300, but the run in r has 100; give the same value "
       "or auto, or --train.force schedule.steps, or start a new run"});
}

}  // namespace
}  // namespace mumoe::run

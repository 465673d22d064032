// Ranks, experts and gates as keys: what they resolve to and how a bad value is
// refused.
#include <gtest/gtest.h>

#include <map>

#include "run/command_line.h"
#include "run/notes.h"
#include "run/option_table.h"
#include "run/options.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

void expect_refused(const std::vector<std::string>& arguments,
                    std::initializer_list<std::string> parts) {
  testing::expect_input_error([&] { read_command_line(arguments); }, parts);
}

// A small GPT-2, so that the numbers can be checked by hand.
Options small(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(),
                   {"--model.width=256",
                    "--model.hidden=1024",
                    "--model.heads=4",
                    "--model.depth=1"});
  return read_command_line(arguments).options;
}

TEST(Ranks, AutomaticOnesMatchTheDenseMlp) {
  using Ranks = std::vector<std::int64_t>;
  const std::map<std::string, Ranks> expected = {
      // 256 · 64 + 2 · 256 + R (2 · 64 + 256 + 2 · 1024 + 256 + 2)
      {"cp", {188}},
      {"tr", {4, 4, 49}},
      {"tt", {1, 4, 79}},
      {"tucker", {16, 91, 91}}};
  const std::int64_t dense = 2 * 256 * 1024 + 256;
  for (const auto& [mlp, ranks] : expected) {
    SCOPED_TRACE(mlp);
    const Options options = small({"--model.mlp=" + mlp, "--model.experts=64"});
    EXPECT_EQ(options.model.mlp.ranks, ranks);
    BlockConfig block = options.model.block();
    EXPECT_LE(MuMoEBlock::parameter_count(block), dense);
    block.ranks.back() += 1;
    if (mlp == "tucker") block.ranks[1] += 1;
    EXPECT_GT(MuMoEBlock::parameter_count(block), dense);
    // What is printed are the ranks themselves.
    std::string text = to_map(options).at("model.rank");
    EXPECT_EQ(parse_list(text), ranks);
  }
  // Biases give the dense MLP 1024 + 256 + 256 more: enough for one rank more.
  EXPECT_EQ(small({"--model.experts=64", "--model.bias"}).model.mlp.ranks,
            (Ranks{189}));
  EXPECT_EQ(small({"--model.experts=8,8"}).model.mlp.ranks.size(), 1u);
  EXPECT_EQ(
      small({"--model.mlp=tr", "--model.experts=8,8"}).model.mlp.ranks.size(),
      4u);
}

TEST(Ranks, OfThePaperAndGivenOnes) {
  using Ranks = std::vector<std::int64_t>;
  const auto ranks = [](const std::vector<std::string>& arguments) {
    return read_command_line(arguments).options.model.mlp.ranks;
  };
  EXPECT_EQ(ranks({"--model.rank=paper"}), (Ranks{556}));
  EXPECT_EQ(ranks({"--model.rank=paper", "--model.experts=64"}), (Ranks{599}));
  EXPECT_EQ(ranks({"--model.rank=paper", "--model.mlp=tr"}),
            (Ranks{4, 4, 149}));
  expect_refused({"--model.rank=paper", "--model.experts=100"},
                 {"model.rank = paper", "100 experts", "64 or 256"});
  expect_refused({"--model.rank=paper", "--model.mlp=tucker"},
                 {"model.rank = paper", "cp or tr"});
  expect_refused({"--model.rank=paper", "--model.experts=16,16"},
                 {"model.rank = paper", "one level"});
  EXPECT_EQ(ranks({"--model.rank=77"}), (Ranks{77}));
  EXPECT_EQ(ranks({"--model.rank=77", "--model.mlp=tr"}), (Ranks{4, 4, 77}));
  EXPECT_EQ(ranks({"--model.rank=77", "--model.mlp=tt"}), (Ranks{1, 4, 77}));
  EXPECT_EQ(ranks({"--model.rank=77", "--model.mlp=tucker"}),
            (Ranks{16, 77, 77}));
  EXPECT_EQ(ranks({"--model.rank=2,3,4", "--model.mlp=tucker"}),
            (Ranks{2, 3, 4}));
  expect_refused({"--model.rank=2,3,4"},
                 {"model.rank = 2,3,4", "expected 1 (R)"});
  expect_refused({"--model.rank=2,3,4", "--model.mlp=tt"},
                 {"model.rank = 2,3,4", "r_1 = 2"});
  expect_refused({"--model.rank=0"}, {"model.rank = 0"});
  expect_refused({"--model.rank=most"},
                 {"model.rank = most", "auto, paper, or whole numbers"});
  expect_refused({"--model.rank=999999999999999999"},
                 {"model.rank = 999999999999999999", "2^56"});
  expect_refused({"--model.experts=999999999"},
                 {"model.rank = auto", "999999999 experts", "with rank 1"});
}

/// S/16 by 64 experts.
Options mixer(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(),
                   {"--model.family=mixer",
                    "--model.depth=8",
                    "--model.width=512",
                    "--model.experts=64",
                    "--model.bias",
                    "--model.gate_norm=batch"});
  return read_command_line(arguments).options;
}

TEST(Mixer, SizesFollowFromTheWidthAndTheImages) {
  const Options o = mixer({});
  EXPECT_EQ(o.model.token_hidden, 256);
  EXPECT_EQ(o.model.mlp.hidden_dim, 2048);
  EXPECT_EQ(o.model.image_size, 224);
  EXPECT_EQ(o.model.channels, 3);
  EXPECT_EQ(o.model.classes, 1000);
  EXPECT_EQ(o.model.patches(), 196);
  EXPECT_EQ(mixer({"--train.seed=5"}).model.seed, 5u);
  // What it has no use for stays open, as what GPT-2 has none for.
  EXPECT_EQ(to_map(o).at("model.vocab"), "auto");
  const auto gpt2 = to_map(read_command_line({}).options);
  for (const char* key : {"model.image_size",
                          "model.classes",
                          "model.token_hidden",
                          "model.token_rank"}) {
    EXPECT_EQ(gpt2.at(key), "auto") << key;
  }
  // What is printed reads back as the same.
  EXPECT_EQ(to_map(options_from(to_map(o), "test")), to_map(o));
}

TEST(Mixer, HasAsManyClassesAsItsFolderOfImages) {
  const testing::ScratchFolder folder;
  for (const char* name : {"cat", "dog", "owl", ".hidden"}) {
    std::filesystem::create_directories(folder.path() / "train" / name);
  }
  folder.write("train/notes.txt", "no class");
  const std::string source = "--data.source=" + folder.path().string();
  EXPECT_EQ(mixer({source}).model.classes, 3);
  EXPECT_EQ(mixer({source}).model.image_size, 224);
  EXPECT_EQ(mixer({source, "--model.classes=5"}).model.classes, 5);
  EXPECT_EQ(mixer({"--data.source=fashion-mnist", "--model.patch=7"})
                .model.image_size,
            28);
}

TEST(Mixer, HasRanksForTokensAndForChannels) {
  using Ranks = std::vector<std::int64_t>;
  const auto expect = [](const std::vector<std::string>& arguments,
                         const Ranks& token,
                         const Ranks& channel) {
    SCOPED_TRACE(arguments.empty() ? "" : arguments[0]);
    const auto m = mixer(arguments).model;
    EXPECT_EQ(m.token_ranks, token);
    EXPECT_EQ(m.mlp.ranks, channel);
  };
  expect({"--model.rank=paper"}, {147}, {384});
  expect({"--model.rank=paper,auto"}, {147}, {384});
  expect({"--model.rank=paper", "--model.mlp=tr"}, {4, 4, 37}, {4, 4, 97});
  // 64 · 196 + R (2 · 64 + 196 + 256 + 256 + 196 + 2) ≤ 2 · 196 · 256 + 452
  expect({}, {85}, {393});
  expect({"--model.rank=384"}, {85}, {384});
  expect({"--model.rank=384", "--model.token_rank=147"}, {147}, {384});
  expect({"--model.token_rank=paper"}, {147}, {393});
  expect({"--model.mlp=tr", "--model.rank=4,4,9", "--model.token_rank=7"},
         {4, 4, 7},
         {4, 4, 9});
  const auto refused = [](const char* argument,
                          std::initializer_list<std::string> parts) {
    testing::expect_input_error([&] { mixer({argument}); }, parts);
  };
  refused("--model.token_rank=2,3", {"model.token_rank = 2,3"});
  refused("--model.token_rank=some", {"model.token_rank = some"});
  testing::expect_input_error(
      [] {
        read_command_line({"--model.family=mixer",
                           "--model.gate_norm=batch",
                           "--model.experts=100",
                           "--model.token_rank=paper"});
      },
      {"model.token_rank = paper", "100 experts"});
  refused("--model.patch=15",
          {"model.patch = 15", "model.image_size = 224", "but by 14"});
  refused("--model.stochastic_depth=2", {"model.stochastic_depth = 2"});
  refused("--model.label_smoothing=1", {"model.label_smoothing = 1"});
  refused("--model.classes=0x", {"model.classes = 0x"});
}

TEST(Mixer, KeysOfOtherFamiliesAreNoted) {
  const auto notes_of = [](std::vector<std::string> arguments) {
    const auto line = read_command_line(arguments);
    std::string all;
    for (const auto& note : notes_on(line.options, line.origins)) {
      all += note + "\n";
    }
    return all;
  };
  EXPECT_NE(notes_of({"--model.family=mixer", "--model.heads=4"})
                .find("model.heads: without effect, since model.family is "
                      "mixer"),
            std::string::npos);
  EXPECT_NE(notes_of({"--model.patch=8", "--model.token_rank=3"})
                .find("model.patch, model.token_rank: without effect, since "
                      "model.family is gpt2"),
            std::string::npos);
}

TEST(Gates, RangesNameTheKey) {
  const auto& gate =
      read_command_line({"--model.gate=top_k", "--model.gate_top_k=3"})
          .options.model.mlp.gate;
  EXPECT_EQ(gate.activation, GateActivation::top_k);
  EXPECT_EQ(gate.top_k, 3);
  EXPECT_EQ(read_command_line({"--model.gate=softmax"})
                .options.model.mlp.gate.activation,
            GateActivation::softmax);
  expect_refused({"--model.gate=relu"},
                 {"model.gate = relu", "entmax15, softmax, top_k"});
  expect_refused({"--model.gate=top_k"}, {"model.gate_top_k = 0", "1 to 256"});
  expect_refused(
      {"--model.gate=top_k", "--model.gate_top_k=5", "--model.experts=16,4"},
      {"model.gate_top_k = 5", "1 to 4"});
  expect_refused({"--model.gate_norm=batch"},
                 {"model.gate_norm = batch", "mix positions"});
  expect_refused({"--model.level_noise=-0.5"},
                 {"model.level_noise = -0.5", "at least 0"});
  expect_refused({"--model.experts=4,0"}, {"model.experts = 4,0", "1 or more"});
  expect_refused({"--model.experts=2,2,2,2,2"},
                 {"model.experts = 2,2,2,2,2", "1 to 4"});
  // Other keys are judged before ranks are chosen with them.
  expect_refused({"--model.width=0"}, {"model.width = 0"});
  expect_refused({"--model.hidden=-1"}, {"model.hidden = -1"});
}

}  // namespace
}  // namespace mumoe::run

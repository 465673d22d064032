// A head's kind, ranks and sizes as keys.
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "data/features/feature_data.h"
#include "run/command_line.h"
#include "run/notes.h"
#include "run/options.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

using Ranks = std::vector<std::int64_t>;

CommandLine read(std::vector<std::string> arguments) {
  arguments.push_back("--model.family=head");
  return read_command_line(arguments);
}

Options head(std::vector<std::string> arguments) {
  return read(std::move(arguments)).options;
}

TEST(Heads, HaveRanksByOneBudgetForAnyNumberOfExperts) {
  // 1280 N + R (N + 1280 + 1 + 10), at most what 512 have at rank 64.
  const std::map<int, std::int64_t> ranks = {{8, 585},
                                             {16, 574},
                                             {32, 551},
                                             {64, 508},
                                             {128, 427},
                                             {256, 286},
                                             {512, 64}};
  for (const auto& [experts, rank] : ranks) {
    const Options options = head({"--model.head=cp",
                                  "--model.features=1280",
                                  "--model.classes=10",
                                  "--model.head_parameters=770752",
                                  fmt::format("--model.experts={}", experts)});
    EXPECT_EQ(options.model.mlp.ranks, (Ranks{rank})) << experts;
    // A run's own configuration is read again as it was.
    const auto values = to_map(options);
    EXPECT_EQ(values.at("model.rank"), std::to_string(rank));
    EXPECT_EQ(to_map(options_from(values, "config.cfg")), values);
  }
  testing::expect_input_error(
      [] {
        head({"--model.head=cp",
              "--model.features=1280",
              "--model.classes=10",
              "--model.experts=64",
              "--model.head_parameters=80000"});
      },
      {"model.rank = auto", "80000"});
}

TEST(Heads, HaveALinearOnesParametersOrTheAuthorsRanks) {
  const auto ranks = [](const char* form, const char* rank) {
    return head({fmt::format("--model.head={}", form),
                 fmt::format("--model.rank={}", rank),
                 "--model.experts=64"})
        .model.mlp.ranks;
  };
  EXPECT_EQ(ranks("cp", "auto"), (Ranks{392}));  // one less than theirs
  EXPECT_EQ(ranks("cp", "paper"), (Ranks{393}));
  EXPECT_EQ(ranks("cp", "paper,auto"), (Ranks{393}));
  EXPECT_EQ(ranks("tr", "paper"), (Ranks{4, 4, 102}));
  EXPECT_EQ(ranks("tt", "paper,auto")[0], 1);
  EXPECT_EQ(ranks("tucker", "5"), (Ranks{16, 5, 5}));
  testing::expect_input_error([&] { ranks("tt", "paper"); },
                              {"model.rank = paper", "cp or tr"});
  testing::expect_input_error([] { head({"--model.head=mlp"}); },
                              {"model.head = mlp", "linear, high_rank, cp"});
}

TEST(Heads, HaveTheSizesOfTheirFeatures) {
  const testing::ScratchFolder folder;
  data::FeatureFacts facts;
  facts.width = 40;
  facts.class_names = {"a", "b", "c"};
  data::write_feature_facts(folder.path(), facts);
  const std::string source = "--data.source=" + folder.path().string();
  const Options options = head({source});
  EXPECT_EQ(options.model.features, 40);
  EXPECT_EQ(options.model.classes, 3);
  EXPECT_EQ(head({source, "--model.features=7"}).model.features, 7);
}

TEST(Heads, AreToldWhatDoesNothing) {
  const auto noted = [](std::vector<std::string> arguments) {
    const CommandLine line = read(std::move(arguments));
    return fmt::format("{}",
                       fmt::join(notes_on(line.options, line.origins), "\n"));
  };
  EXPECT_EQ(noted({"--model.head=high_rank"}), "");
  EXPECT_EQ(noted({"--model.head=cp", "--model.label_smoothing=0.1"}), "");
  EXPECT_EQ(noted({"--model.experts=64", "--model.head_parameters=9"}),
            "model.experts: without effect, since model.head is linear\n"
            "model.head_parameters: without effect, since model.head is "
            "linear");
  EXPECT_EQ(noted({"--model.patch=4", "--data.augment=none"}),
            "model.patch: without effect, since model.family is head\n"
            "data.augment: without effect, since features are of images as "
            "they were");
}

}  // namespace
}  // namespace mumoe::run

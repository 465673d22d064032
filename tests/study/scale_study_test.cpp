// Study files: which cells they are, and what is wrong with them.
#include "study/scale/scale_study.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "study/scale/launcher.h"
#include "study/scale/scale_runner.h"
#include "tests/study/error_of.h"
#include "tests/support/scratch.h"

namespace mumoe::study {
namespace {

using testing::error_of;
using testing::ScratchFolder;

class ScaleStudyTest : public ::testing::Test {
 protected:
  ScaleStudy read(const std::string& text, const CheckCell& check = {}) const {
    std::ofstream(file_) << text;
    return read_study(file_, check);
  }
  /// What is said of `text`, without the name of the file.
  std::string refusal(const std::string& text) const {
    const std::string error = error_of([&] { read(text); });
    const std::string head = file_.string() + ": ";
    EXPECT_TRUE(error.starts_with(head)) << error;
    return error.substr(std::min(head.size(), error.size()));
  }
  static std::vector<std::string> names(const ScaleStudy& study) {
    std::vector<std::string> all;
    for (const auto& cell : study.cells) all.push_back(cell.name);
    return all;
  }

  ScratchFolder folder_;
  std::filesystem::path file_ = folder_.path() / "s.json";
};

std::map<std::string, std::string> values(const StudyCell& cell) {
  return {cell.settings.begin(), cell.settings.end()};
}

TEST_F(ScaleStudyTest, CellsAreModelsByLayoutsByScaling) {
  const auto study = read(R"({
    "models": {"cp": {}, "dense": {"model.mlp": "dense"}},
    "layouts": [{"dp": [1, 2]}, {"tp": 2, "plan": ["rank"], "models": "cp"},
                {"dp": 2, "tp": 2, "zero": [0, 1], "models": ["dense"]}],
    "scaling": "weak"})");
  EXPECT_EQ(names(study),
            (std::vector<std::string>{"cp/1x1/weak",
                                      "cp/2x1/weak",
                                      "cp/1x2-rank/weak",
                                      "dense/1x1/weak",
                                      "dense/2x1/weak",
                                      "dense/2x2-zero0/weak",
                                      "dense/2x2-zero1/weak"}));
  EXPECT_EQ(study.name, "s");
  EXPECT_EQ(study.cells[5].ranks(), 4);
  EXPECT_EQ(study.cells[5].options.parallel.zero, 0);
  EXPECT_TRUE(study.cells[5].options.model.dense);
}

TEST_F(ScaleStudyTest, AWeakBatchGrowsWithTheRanks) {
  const auto study = read(R"({"settings": {"train.batch": 6},
    "models": {"a": {}, "b": {"train.batch": 4, "model.bias": true}},
    "layouts": [{"dp": 2, "tp": 2}], "steps": 5, "skip": 3})");
  ASSERT_EQ(names(study),
            (std::vector<std::string>{"a/2x2/strong",
                                      "a/2x2/weak",
                                      "b/2x2/strong",
                                      "b/2x2/weak"}));
  EXPECT_EQ(study.cells[0].options.trainer.batch, 6);
  EXPECT_EQ(study.cells[1].options.trainer.batch, 24);
  EXPECT_EQ(study.cells[2].options.trainer.batch, 4);
  EXPECT_EQ(study.cells[3].options.trainer.batch, 16);
  EXPECT_TRUE(study.cells[3].options.model.bias);
  EXPECT_EQ(study.cells[3].options.trainer.steps, 8);
  // A command line takes no key twice, and says the same as the options.
  EXPECT_EQ(values(study.cells[3]).size(), study.cells[3].settings.size());
  EXPECT_EQ(values(study.cells[3]).at("train.batch"), "16");
  EXPECT_EQ(values(study.cells[3]).at("model.bias"), "yes");
}

TEST_F(ScaleStudyTest, APlanCountsWhereTpCutsSomething) {
  const auto study = read(R"({"models": {"cp": {}}, "scaling": ["strong"],
    "layouts": [{"tp": [1, 2], "plan": ["sequence", "bottleneck"]}, {}]})");
  EXPECT_EQ(names(study),
            (std::vector<std::string>{"cp/1x1/strong",
                                      "cp/1x2-sequence/strong",
                                      "cp/1x2-bottleneck/strong"}));
}

TEST_F(ScaleStudyTest, AConfigurationDoesNotEndOrTraceItsCells) {
  const auto config = folder_.path() / "run.cfg";
  std::ofstream(config) << "[train]\nmax_minutes = 1\nbranch = other\n"
                           "[log]\ntrace = t\n";
  const auto study = read(R"({"config": ")" + config.string() + R"(",
    "models": {"a": {}}, "layouts": [{}], "scaling": "strong"})");
  const auto& options = study.cells[0].options;
  EXPECT_EQ(options.trainer.max_minutes, 0);
  EXPECT_TRUE(options.trace.empty());
  EXPECT_TRUE(options.branch.empty());
  EXPECT_EQ(values(study.cells[0]).at("train.max_minutes"), "0");
  EXPECT_EQ(values(study.cells[0]).size(), study.cells[0].settings.size());
}

TEST_F(ScaleStudyTest, NamesWhatIsWrongWhereItStands) {
  const auto with = [&](const std::string& models, const std::string& layouts) {
    return refusal("{\"models\": " + models + ", \"layouts\": " + layouts +
                   "}");
  };
  EXPECT_EQ(refusal("[]"), "expected an object, a study");
  EXPECT_EQ(refusal(R"({"config": "", "models": {"a": {}}})"),
            "config = \"\": expected a file, as the command line of mumoe "
            "train has it");
  EXPECT_EQ(
      with(R"({"a": {"parallel.backend": "null"}})", "[{}]").substr(0, 49),
      "cell a/1x1/strong: parallel.backend = null: has n");
  EXPECT_EQ(refusal("{}"),
            "models: is missing: expected {name: {key of a run: value}}");
  EXPECT_EQ(refusal(R"({"models": {"a": {}}})"),
            "layouts: is missing: expected a list of layouts such as {\"dp\": "
            "2, \"tp\": 1}");
  EXPECT_EQ(refusal(R"({"modles": {}})"),
            "modles: no such key; expected one of name, config, settings, "
            "models, layouts, scaling, steps, skip, repeats, minutes, exposed");
  EXPECT_EQ(refusal(R"({"repeats": 0})"),
            "repeats = 0: expected a whole number, 1 to 1000");
  EXPECT_EQ(refusal(R"({"steps": "12"})"),
            "steps = \"12\": expected a whole number, 1 to 1000000");
  EXPECT_EQ(refusal(R"({"minutes": -1})"),
            "minutes = -1: expected the minutes that one run may take, more "
            "than 0");
  EXPECT_EQ(refusal(R"({"scaling": ["week"]})"),
            "scaling = [\"week\"]: expected strong, weak or both of them");
  EXPECT_EQ(with("{\"../a\": {}}", "[{}]"),
            "models: ../a: expected a name of letters, digits, _, - and .");
  EXPECT_EQ(with("{\"a\": {\"model.bias\": [1]}}", "[{}]"),
            "models.a.model.bias = [1]: expected a text, a number, true or "
            "false");
  EXPECT_EQ(with("{\"a\": {}}", "[{\"pp\": 2}]"),
            "layouts[0].pp: no such key; expected one of models, dp, tp, plan, "
            "zero, micro_batch, recompute");
  EXPECT_EQ(with("{\"a\": {}}", "[{}, {\"models\": \"b\"}]"),
            "layouts[1].models: b: no such model; expected a");
  EXPECT_EQ(with("{\"a\": {}}", "[{\"dp\": 0}]"),
            "layouts[0].dp = 0: expected a whole number, 1 to 65536");
  EXPECT_EQ(with("{\"a\": {}}", "[{\"dp\": []}]"),
            "layouts[0].dp = []: expected at least one value");
  EXPECT_EQ(with("{\"a\": {\"train.out\": \"x\"}}", "[{}]"),
            "models.a: train.out: the study sets it for each run; expected "
            "another key");
}

TEST_F(ScaleStudyTest, NamesKeysAndValuesThatNothingHas) {
  const auto key =
      refusal(R"({"models": {"a": {"model.exprts": 4}}, "layouts": [{}]})");
  EXPECT_TRUE(key.starts_with("models.a: ")) << key;
  EXPECT_NE(key.find("model.exprts"), std::string::npos);
  EXPECT_NE(key.find("model.experts"), std::string::npos) << key;
  const auto plan = refusal(
      R"({"models": {"a": {}}, "layouts": [{"tp": 2, "plan": "ring"}]})");
  EXPECT_TRUE(plan.starts_with("layouts[0].plan: parallel.plan = ring: "))
      << plan;
}

TEST_F(ScaleStudyTest, NamesCellsThatCannotBe) {
  const std::string error = error_of([&] {
    read(R"({"models": {"a": {"model.heads": 3}, "b": {}},
             "layouts": [{}, {"dp": 2}], "scaling": "weak"})");
  });
  EXPECT_TRUE(error.starts_with(file_.string() + ": cell a/1x1/weak: "))
      << error;
  EXPECT_NE(error.find("model.heads"), std::string::npos) << error;
  EXPECT_TRUE(error.ends_with(" (and 1 more cells that cannot be run)"))
      << error;

  const std::string checked = error_of([&] {
    read(R"({"models": {"a": {}}, "layouts": [{"dp": [1, 2, 4]}],
             "scaling": "weak"})",
         [](const StudyCell& cell) { require(cell.dp != 4, "expected less"); });
  });
  EXPECT_EQ(checked, file_.string() + ": cell a/4x1/weak: expected less");
}

/// A result of `run`, as a finished one leaves it.
ScaleResult result_of(const ScaleStudy& study, const StudyRun& run) {
  ScaleResult result;
  result.cell = study.cells[run.cell].name;
  result.repeat = run.repeat;
  result.command = "mumoe train " +
                   shell_text(measured_words(study, study.cells[run.cell])) +
                   " --train.out x";
  return result;
}

TEST_F(ScaleStudyTest, RunsOfAllCellsTakeTurns) {
  const std::string text = R"({"models": {"a": {}}, "scaling": "strong",
                               "layouts": [{"dp": [1, 2]}], "repeats": 2})";
  const auto study = read(text);
  using Runs = std::vector<StudyRun>;
  EXPECT_EQ(runs_left(study, {}, true), (Runs{{0, 0}, {1, 0}, {0, 1}, {1, 1}}));
  std::vector<ScaleResult> results = {result_of(study, {0, 0}),
                                      result_of(study, {1, 0})};
  EXPECT_EQ(runs_left(study, results, true), (Runs{{0, 1}, {1, 1}}));
  EXPECT_EQ(results_of(study, results).size(), 2U);

  // One that failed is tried again, unless told otherwise; with bad input its
  // repeats would as well.
  results[1].failed = "no room";
  results[1].code = 2;
  EXPECT_EQ(runs_left(study, results, true), (Runs{{1, 0}, {0, 1}, {1, 1}}));
  EXPECT_EQ(runs_left(study, results, false), (Runs{{0, 1}}));
  results[1].code = 5;
  EXPECT_EQ(runs_left(study, results, false), (Runs{{0, 1}, {1, 1}}));
  results.push_back(result_of(study, {1, 0}));
  EXPECT_EQ(runs_left(study, results, true), (Runs{{0, 1}, {1, 1}}));
}

TEST_F(ScaleStudyTest, ResultsOfOtherSettingsDoNotCount) {
  const auto study = read(R"({"models": {"a": {"train.batch": 12}},
      "scaling": "strong", "layouts": [{}], "repeats": 1, "steps": 12})");
  const std::vector<ScaleResult> results = {result_of(study, {0, 0})};
  EXPECT_TRUE(runs_left(study, results, true).empty());
  const auto other = read(R"({"models": {"a": {"train.batch": 120}},
      "scaling": "strong", "layouts": [{}], "repeats": 1, "steps": 12})");
  EXPECT_EQ(runs_left(other, results, true).size(), 1U);
  EXPECT_TRUE(results_of(other, results).empty());
  const auto longer = read(R"({"models": {"a": {"train.batch": 12}},
      "scaling": "strong", "layouts": [{}], "repeats": 1, "steps": 120})");
  EXPECT_EQ(runs_left(longer, results, true).size(), 1U);
}

TEST_F(ScaleStudyTest, AConfigurationThatHasChangedIsRefused) {
  const auto config = folder_.path() / "run.cfg";
  const auto with = [&](const char* text) {
    std::ofstream(config) << text;
    return read(R"({"config": ")" + config.string() + R"(",
      "models": {"a": {}}, "layouts": [{}], "scaling": "strong",
      "repeats": 1})");
  };
  const auto study = with("[train]\nbatch = 64\n");
  std::vector<ScaleResult> results = {result_of(study, {0, 0})};
  EXPECT_TRUE(runs_left(study, results, true).empty())
      << "an older version says nothing of it";
  results[0].config_hash = study.config_hash;
  EXPECT_TRUE(runs_left(study, results, true).empty());
  const auto same =
      with("# the same\n[train]\nbatch=64\n[model]\ndepth = 12\n");
  ASSERT_EQ(run::to_map(run::Options()).at("model.depth"), "12");
  EXPECT_TRUE(runs_left(same, results, true).empty());

  const auto other = with("[train]\nbatch = 32\n");
  const std::string refused =
      config.string() +
      ": its settings are others than those that a/1x1/strong was run with; "
      "expected these again, or another --out";
  EXPECT_EQ(error_of([&] { runs_left(other, results, true); }), refused);
  EXPECT_EQ(error_of([&] { results_of(other, results); }), refused);
  // What failed by its configuration may succeed by another.
  results[0].failed = "no room";
  results[0].code = 2;
  EXPECT_EQ(runs_left(other, results, false).size(), 1U);
  // Of other cells nothing is asked.
  results[0].failed = "";
  results[0].command = "--train.batch 3";
  EXPECT_EQ(runs_left(other, results, true).size(), 1U);
}

TEST_F(ScaleStudyTest, CellsLeaveNoCheckpoint) {
  const auto study = read(R"({"models": {"a": {}}, "layouts": [{}]})");
  EXPECT_FALSE(study.cells[0].options.trainer.checkpoint_last);
  EXPECT_EQ(values(study.cells[0]).at("checkpoint.last"), "no");
}

TEST_F(ScaleStudyTest, RanksAreDealtToNodes) {
  const auto study = read(R"({"models": {"a": {}}, "scaling": "strong",
                              "layouts": [{"dp": [2, 4, 6]}]})");
  Launcher launcher{.kind = Launcher::Kind::slurm,
                    .program = "/c/build/release/mumoe",
                    .scripts = "/c/launch",
                    .ranks_per_node = 4,
                    .words = {"--partition=all"}};
  const auto words =
      launcher.words_of(study, study.cells[1], RunPlaces("/o/0"));
  const auto has = [&](const std::string& word) {
    return std::ranges::count(words, word) == 1;
  };
  EXPECT_TRUE(has("--nodes=1") && has("--ntasks-per-node=4"));
  EXPECT_TRUE(has("--partition=all") && has("--time=31"));
  EXPECT_TRUE(has("/c/launch/slurm.sbatch") && has("--output=/o/0.log"));
  EXPECT_EQ(error_of([&] { launcher.require_nodes(study.cells[2]); }),
            "6 ranks on nodes of 4: expected a multiple of that");
  launcher.require_nodes(study.cells[0]);
  launcher.ranks_per_node = 2;
  const auto two = launcher.words_of(study, study.cells[2], RunPlaces("/o/0"));
  EXPECT_EQ(std::ranges::count(two, "--nodes=3"), 1);
}

}  // namespace
}  // namespace mumoe::study

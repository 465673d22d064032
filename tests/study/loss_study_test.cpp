// Loss studies: which runs they are, which of them are left, what is wrong.
#include "study/loss/loss_study.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "study/loss/loss_result.h"
#include "study/loss/loss_runner.h"
#include "tests/study/error_of.h"
#include "tests/support/scratch.h"

namespace mumoe::study {
namespace {

using testing::error_of;
using testing::ScratchFolder;

using Names = std::vector<std::string>;

/// 64 tokens a step.
constexpr const char* kSettings =
    R"("settings": {"model.context": 16, "train.batch": 4, "model.depth": 1,
        "model.heads": 2, "model.width": 8, "model.experts": 4},)";

class LossStudyTest : public ::testing::Test {
 protected:
  LossStudy read(const std::string& members,
                 const CheckCell& check = {}) const {
    std::ofstream(file_) << "{" << kSettings << members << "}";
    return read_loss_study(file_, check);
  }
  /// What is said of a study, without the name of the file.
  std::string refusal(const std::string& members) const {
    const std::string error = error_of([&] { read(members); });
    const std::string head = file_.string() + ": ";
    EXPECT_TRUE(error.starts_with(head)) << error;
    EXPECT_EQ(error.find('\n'), error.npos) << error;
    return error.substr(std::min(head.size(), error.size()));
  }
  static Names names(const LossStudy& study) {
    Names all;
    for (const auto& run : study.runs) all.push_back(run.cell.name);
    return all;
  }
  /// A line of run `index`, as if it had been run.
  LossResult result(const LossStudy& study,
                    std::size_t index,
                    const std::string& failed = "") const {
    const LossRun& run = study.runs[index];
    LossResult result;
    result.run = run.cell.name;
    result.budget = run.budget;
    result.failed = failed;
    result.command =
        shell_text(launcher_.words_of(study.common,
                                      started_cell(study, run, out()),
                                      places_of(run, out())));
    return result;
  }
  void keep_checkpoint(const LossRun& run) const {
    std::filesystem::create_directories(places_of(run, out()).out /
                                        "checkpoints" / "step_00000001");
  }
  std::filesystem::path out() const { return folder_.path() / "out"; }

  ScratchFolder folder_;
  std::filesystem::path file_ = folder_.path() / "s.json";
  Launcher launcher_{.program = "mumoe", .scripts = "launch"};
};

std::map<std::string, std::string> values(const StudyCell& cell) {
  return {cell.settings.begin(), cell.settings.end()};
}

TEST_F(LossStudyTest, BudgetsBranchFromOneStableRun) {
  const auto study = read(R"("models": {"cp": {}, "dense": {"model.mlp":
    "dense"}}, "budgets": [6400, 12800, 25600], "seeds": [7],
    "layout": {"dp": 2})");
  ASSERT_EQ(names(study),
            (Names{"cp/seed-7/stable-80",
                   "cp/seed-7/budget-100",
                   "cp/seed-7/stable-160",
                   "cp/seed-7/budget-200",
                   "cp/seed-7/budget-400",
                   "dense/seed-7/stable-80",
                   "dense/seed-7/budget-100",
                   "dense/seed-7/stable-160",
                   "dense/seed-7/budget-200",
                   "dense/seed-7/budget-400"}));
  const auto from = [&](std::size_t i) { return study.runs[i].from; };
  EXPECT_FALSE(from(0).has_value());
  EXPECT_EQ(from(1), 0U);
  EXPECT_EQ(from(2), 0U);
  EXPECT_EQ(from(3), 2U);
  EXPECT_EQ(from(4), 2U);
  EXPECT_FALSE(from(5).has_value());
  EXPECT_EQ(from(9), 7U);
  EXPECT_EQ(study.runs[4].first_step, 160);
  EXPECT_EQ(study.runs[4].steps(), 240);
  EXPECT_EQ(study.runs[4].budget, 25600);
  EXPECT_EQ(study.runs[2].budget, 0);
  EXPECT_EQ(study.common.name, "s");
}

TEST_F(LossStudyTest, ARunHasItsPartOfItsSchedule) {
  const auto study = read(R"("models": {"cp": {"schedule.warmup": "auto"}},
    "budgets": [6400, 12800], "decay": 0.1)");
  ASSERT_EQ(names(study),
            (Names{"cp/seed-1/stable-90",
                   "cp/seed-1/budget-100",
                   "cp/seed-1/budget-200"}));
  // The stable run is that of the longest budget; all warm up alike.
  const auto expect = [&](std::size_t i, const char* steps, const char* decay) {
    const auto& options = study.runs[i].cell.options;
    auto all = values(study.runs[i].cell);
    EXPECT_EQ(all.at("schedule.kind"), "wsd");
    EXPECT_EQ(all.at("schedule.steps"), steps);
    EXPECT_EQ(all.at("schedule.decay"), decay);
    EXPECT_EQ(all.at("train.steps"), std::to_string(study.runs[i].last_step));
    EXPECT_EQ(all.at("train.resume"), "auto");
    EXPECT_EQ(options.schedule.warmup, 10);
    EXPECT_EQ(options.trainer.seed, 1U);
    // A command line takes no key twice.
    EXPECT_EQ(all.size(), study.runs[i].cell.settings.size());
  };
  expect(0, "200", "20");
  expect(1, "100", "10");
  expect(2, "200", "20");
  EXPECT_EQ(study.runs[0].cell.options.trainer.eval_windows, 1);
  EXPECT_GT(study.runs[1].cell.options.trainer.eval_windows, 1);

  const auto words =
      launcher_.words_of(study.common,
                         started_cell(study, study.runs[1], out()),
                         places_of(study.runs[1], out()));
  const std::string text = shell_text(words);
  const std::string runs = (out() / "runs/cp/seed-1/").string();
  EXPECT_TRUE(text.starts_with("launch/mpirun -n 1 mumoe train --")) << text;
  EXPECT_TRUE(text.ends_with(" --train.branch " + runs +
                             "stable-90 --train.out " + runs + "budget-100"))
      << text;
  const auto first = started_cell(study, study.runs[0], out());
  EXPECT_FALSE(values(first).contains("train.branch"));
}

TEST_F(LossStudyTest, WithoutBranchesEachBudgetIsACosineOfItsOwn) {
  const auto study = read(R"("models": {"cp": {}}, "budgets": [6400, 12800],
    "seeds": [1, 2], "branch": false)");
  ASSERT_EQ(names(study),
            (Names{"cp/seed-1/budget-100",
                   "cp/seed-1/budget-200",
                   "cp/seed-2/budget-100",
                   "cp/seed-2/budget-200"}));
  for (const auto& run : study.runs) {
    EXPECT_FALSE(run.from.has_value());
    EXPECT_EQ(run.cell.options.schedule.kind, run::ScheduleKind::cosine);
    EXPECT_EQ(run.cell.options.schedule.steps, run.last_step);
  }
  EXPECT_EQ(study.runs[2].cell.options.trainer.seed, 2U);
  EXPECT_DOUBLE_EQ(study.cost_ratio("cp"), 1.5);
}

TEST_F(LossStudyTest, BranchesCostTheirDecaysAlone) {
  const auto ratio = [&](const std::string& members) {
    return read(R"("models": {"cp": {}},)" + members).cost_ratio("cp");
  };
  // 400 steps, and 0.2 (100 + 200) of the branches.
  EXPECT_DOUBLE_EQ(ratio(R"("budgets": [6400, 12800, 25600])"), 1.15);
  EXPECT_DOUBLE_EQ(ratio(R"("budgets": [6400, 12800, 25600], "decay": 0.1)"),
                   1.075);
  EXPECT_DOUBLE_EQ(ratio(R"("budgets": [6400, 12800, 25600],
                              "seeds": [1, 2, 3])"),
                   1.15);
  EXPECT_DOUBLE_EQ(ratio(R"("budgets": [6400])"), 1);
}

TEST_F(LossStudyTest, ModelsAreCounted) {
  const auto study = read(R"("models": {"d": {"model.mlp": "dense",
    "model.hidden": 32, "model.bias": false}}, "budgets": [6400])");
  const LossModel& model = study.models.at("d");
  EXPECT_EQ(model.form, "dense");
  EXPECT_EQ(model.target, "token");
  EXPECT_EQ(model.step_targets, 64);
  EXPECT_EQ(model.counts.embeddings, (256 + 16) * 8);
  // Norms 3 x 8; attention 4 x 8 x 8; an MLP of 8 x 32 twice.
  EXPECT_EQ(model.counts.parameters - model.counts.embeddings,
            3 * 8 + 4 * 64 + 2 * 256);
}

TEST_F(LossStudyTest, BudgetsMayLeaveAtTheSameStep) {
  // 10 and 11 steps, of which 5 and 6 bring the rate down.
  const auto study = read(R"("models": {"cp": {}}, "budgets": [640, 704, 6400],
    "decay": 0.54)");
  EXPECT_EQ(names(study),
            (Names{"cp/seed-1/stable-5",
                   "cp/seed-1/budget-10",
                   "cp/seed-1/budget-11",
                   "cp/seed-1/budget-100"}));
  EXPECT_EQ(study.runs[2].from, 0U);
  EXPECT_EQ(study.runs[3].from, 0U);
}

TEST_F(LossStudyTest, NamesWhatIsWrongWhereItStands) {
  const std::string cp = R"("models": {"cp": {}},)";
  EXPECT_EQ(refusal(R"("seeds": [1])"),
            "budgets: is missing: expected a list of tokens to train on, "
            "ascending");
  EXPECT_EQ(refusal(R"("budgets": [6400])"),
            "models: is missing: expected {name: {key of a run: value}}");
  EXPECT_EQ(refusal(cp + R"("budgets": 5)"),
            "budgets = 5: expected a list of at least one whole number");
  EXPECT_EQ(refusal(cp + R"("budgets": [])"),
            "budgets = []: expected a list of at least one whole number");
  EXPECT_EQ(refusal(cp + R"("budgets": [1.5])").substr(0, 44),
            "budgets[0] = 1.5: expected a whole number, 1");
  EXPECT_EQ(refusal(cp + R"("budgets": [200, 200])"),
            "budgets[1] = 200: expected more than the one before it");
  EXPECT_EQ(refusal(cp + R"("budgets": [6400, 6401, 6402])"),
            "model cp: budgets[2] = 6402: as many steps of 64 tokens as the "
            "one before it; expected a step more");
  const std::string budget = cp + R"("budgets": [6400],)";
  for (const char* decay : {"0", "1", "-0.5", "1.5", "\"0.2\"", "null"}) {
    EXPECT_EQ(refusal(budget + "\"decay\": " + decay),
              std::string("decay = ") + decay +
                  ": expected a share of the steps between 0 and 1");
  }
  EXPECT_EQ(refusal(budget + R"("seeds": [3, 1, 3])"),
            "seeds[2] = 3: expected a seed that does not stand there before");
  EXPECT_EQ(refusal(budget + R"("branch": "no")"),
            "branch = \"no\": expected true or false");
  EXPECT_EQ(refusal(budget + R"("draws": 0)"),
            "draws = 0: expected a whole number, 1 to 1000000");
  EXPECT_EQ(refusal(budget + R"("draw_seed": 1.5)").substr(0, 39),
            "draw_seed = 1.5: expected a whole numbe");
  EXPECT_EQ(refusal(budget + R"("minutes": 0)"),
            "minutes = 0: expected the minutes that one run may take, more "
            "than 0");
  EXPECT_EQ(refusal(budget + R"("seed": [1])"),
            "seed: no such key of a loss study; did you mean seeds?");
  EXPECT_TRUE(refusal(budget + R"("zzzzzz": 1)")
                  .starts_with("zzzzzz: no such key of a loss study; expected "
                               "one of name, config, settings"));
  EXPECT_EQ(refusal(budget + R"("layout": {"dp": [1, 2]})"),
            "layout = {\"dp\":[1,2]}: expected one layout: a value, not a list "
            "of them");
  EXPECT_EQ(refusal(budget + R"("layout": [{"dp": 2}])"),
            "layout = [{\"dp\":2}]: expected one layout of all models, such as "
            "{\"dp\": 2}");
  EXPECT_EQ(
      refusal(R"("models": {"cp": {"train.seed": 3}}, "budgets": [6400])"),
      "models.cp: train.seed: the study sets it for each run; expected "
      "another key");
  EXPECT_TRUE(refusal(R"("models": {"cp": {"model.exprts": 3}},
                          "budgets": [6400])")
                  .starts_with("models.cp: unknown key model.exprts"));
  EXPECT_TRUE(refusal(R"("models": {"cp": {"model.heads": 3}},
                          "budgets": [6400])")
                  .starts_with("model cp: model.heads = 3"));
  EXPECT_EQ(refusal(R"("models": {"cp": {"schedule.warmup": 90}},
                        "budgets": [6400])"),
            "model cp: budgets[0] = 6400: its rate comes down after step 80 of "
            "100, the warm-up has 90; expected a longer budget, or less "
            "schedule.warmup");
  EXPECT_EQ(error_of([&] {
              read(budget + R"("layout": {"dp": 3})", [](const auto& cell) {
                fail<InputError>("no {} ranks", cell.ranks());
              });
            }),
            file_.string() + ": model cp: no 3 ranks");
}

TEST_F(LossStudyTest, ItsReportMayBeOfOtherDraws) {
  const std::string rest = R"("models": {"cp": {}}, "budgets": [6400])";
  const auto plain = read(rest);
  EXPECT_EQ(plain.draws.draws, 200);
  EXPECT_EQ(plain.draws.seed, 1U);
  const auto other = read(R"("draws": 1000, "draw_seed": 7,)" + rest);
  EXPECT_EQ(other.draws.draws, 1000);
  EXPECT_EQ(other.draws.seed, 7U);
}

TEST_F(LossStudyTest, RunsSaveAtTheirEnds) {
  const auto config = folder_.path() / "run.cfg";
  std::ofstream(config) << "[checkpoint]\nlast = no\n";
  const auto study = read(R"("config": ")" + config.string() +
                          R"(", "models": {"cp": {}}, "budgets": [6400])");
  EXPECT_TRUE(study.runs[0].cell.options.trainer.checkpoint_last);
  EXPECT_EQ(values(study.runs[0].cell).at("checkpoint.last"), "yes");
}

TEST_F(LossStudyTest, AConfigurationThatHasChangedIsRefused) {
  const auto config = folder_.path() / "run.cfg";
  const auto with = [&](const char* text) {
    std::ofstream(config) << text;
    return read(R"("config": ")" + config.string() +
                R"(", "models": {"cp": {}}, "budgets": [6400])");
  };
  const auto study = with("[optimizer]\nlr = 0.01\n");
  std::vector<LossResult> results = {result(study, 0)};
  results[0].config_hash = study.common.config_hash;
  EXPECT_TRUE(losses_left(study, results, out(), true).empty());
  const auto other = with("[optimizer]\nlr = 0.02\n");
  EXPECT_EQ(
      error_of([&] { losses_left(other, results, out(), true); }),
      config.string() +
          ": its settings are others than those that cp/seed-1/budget-100 was "
          "run with; expected these again, or another --out");
  results[0].failed = "no room";
  EXPECT_EQ(losses_left(other, results, out(), true).size(), 1U);
}

TEST_F(LossStudyTest, IsToldFromAScalingStudy) {
  const auto is = [&](const char* text) {
    std::ofstream(file_) << text;
    return is_loss_study(file_);
  };
  EXPECT_TRUE(is(R"({"budgets": [1]})"));
  EXPECT_TRUE(is(R"({"budgest": [1], "seeds": [1]})"));
  EXPECT_FALSE(is(R"({"models": {}, "layouts": []})"));
  EXPECT_FALSE(is("{"));
  EXPECT_FALSE(is_loss_study(folder_.path() / "none"));
}

TEST_F(LossStudyTest, WhatIsThereIsNotLeft) {
  const auto study =
      read(R"("models": {"cp": {}}, "budgets": [6400, 12800, 25600])");
  // stable-80, budget-100, stable-160, budget-200, budget-400
  ASSERT_EQ(study.runs.size(), 5U);
  using Left = std::vector<std::size_t>;
  const auto left = [&](const std::vector<LossResult>& results,
                        bool retry = true) {
    return losses_left(study, results, out(), retry);
  };
  EXPECT_EQ(left({}), (Left{0, 1, 2, 3, 4}));
  std::vector<LossResult> results = {result(study, 0), result(study, 1)};
  // What others branch from is run again where its checkpoint is gone.
  EXPECT_EQ(left(results), (Left{0, 2, 3, 4}));
  keep_checkpoint(study.runs[0]);
  EXPECT_EQ(left(results), (Left{2, 3, 4}));
  results.push_back(result(study, 2));
  keep_checkpoint(study.runs[2]);
  results.push_back(result(study, 3, "out of memory"));
  EXPECT_EQ(left(results), (Left{3, 4}));
  EXPECT_EQ(left(results, /*retry=*/false), (Left{4}));
  results.push_back(result(study, 3));  // the last word counts
  results.push_back(result(study, 4));
  std::filesystem::remove_all(out());  // and nothing branches any more
  EXPECT_EQ(left(results), Left{});
  // Of other settings.
  results[1].command.replace(results[1].command.find("--model.width 8"),
                             15,
                             "--model.width 80");
  EXPECT_EQ(left(results), (Left{0, 1}));
}

}  // namespace
}  // namespace mumoe::study

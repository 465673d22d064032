// Studies of heads with different numbers of experts: which they are, what they
// found, and its page.
#include "study/experts/specialise_study.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "study/experts/specialise_curves.h"
#include "study/experts/specialise_runner.h"
#include "study/report/specialise_page.h"
#include "tests/study/error_of.h"
#include "tests/study/markup.h"
#include "tests/support/scratch.h"

namespace mumoe::study {
namespace {

using testing::error_of;
using testing::ScratchFolder;

constexpr const char* kRest =
    R"("settings": {"model.features": 20, "model.classes": 5,
        "train.batch": 8, "train.steps": 4},)";

class SpecialiseStudyTest : public ::testing::Test {
 protected:
  SpecialiseStudy read(const std::string& members,
                       const std::string& features = "") const {
    std::ofstream(file_) << "{" << kRest << members << "}";
    return read_specialise_study(file_, features);
  }
  std::string refusal(const std::string& members) const {
    const std::string error = error_of([&] { read(members); });
    const std::string head = file_.string() + ": ";
    EXPECT_TRUE(error.starts_with(head)) << error;
    return error.substr(std::min(head.size(), error.size()));
  }

  ScratchFolder folder_;
  std::filesystem::path file_ = folder_.path() / "study.json";
};

std::string value_of(const SpecialiseCell& cell, const std::string& key) {
  for (const auto& [name, value] : cell.cell.settings) {
    if (name == key) return value;
  }
  return "";
}

TEST_F(SpecialiseStudyTest, IsEveryHeadWithTheParametersOfTheWidest) {
  const auto study = read(
      R"("experts": [4, 8, 32], "rank": 6, "gates": ["entmax15", "softmax"],
         "norms": ["batch", "none"], "seeds": [1, 2], "layout": {"dp": 2},
         "features": "from the file")",
      "from elsewhere");
  ASSERT_EQ(study.cells.size(), 2u * (2 + 2 * 2 * 3));
  // 20 · 32 of the gate, 6 (32 + 21 + 5) of the factors
  EXPECT_EQ(study.budget, 640 + 348);
  EXPECT_EQ(study.cells[0].cell.name, "linear/seed-1");
  EXPECT_EQ(study.cells[0].parameters, 20 * 5 + 5);
  EXPECT_EQ(value_of(study.cells[0], "model.head_parameters"), "");
  EXPECT_EQ(study.cells[1].cell.name, "high_rank/seed-1");
  EXPECT_EQ(study.cells[2].cell.name, "cp-4-entmax15-batch/seed-1");
  EXPECT_EQ(study.cells.back().cell.name, "cp-32-softmax-none/seed-2");
  for (const SpecialiseCell& cell : study.cells) {
    EXPECT_EQ(cell.cell.dp, 2);
    EXPECT_EQ(value_of(cell, "data.source"), "from elsewhere");
    if (cell.head == "linear") continue;
    EXPECT_LE(cell.parameters, study.budget) << cell.cell.name;
    EXPECT_GT(cell.parameters, study.budget - 50) << cell.cell.name;
  }
}

TEST_F(SpecialiseStudyTest, RefusesInOneLine) {
  EXPECT_EQ(refusal(R"("rank": 4)"),
            "experts: is missing: expected numbers of experts, such as [8, 64, "
            "512]");
  EXPECT_EQ(refusal(R"("experts": [4])"),
            "rank: is missing: expected the rank of the head with most "
            "experts");
  EXPECT_NE(refusal(R"("experts": [4, 4], "rank": 2)")
                .find("a number that does not stand there before"),
            std::string::npos);
  EXPECT_NE(refusal(R"("experts": [4], "rank": 2, "head": "linear")")
                .find("head = linear: expected cp, tr, tt or tucker"),
            std::string::npos);
  EXPECT_NE(refusal(R"("experts": [4], "rank": 2, "beside": ["dense"])")
                .find("linear, high_rank, or both"),
            std::string::npos);
  EXPECT_NE(
      refusal(R"("experts": [4], "rank": 2, "gates": "relu")").find("relu"),
      std::string::npos);
  EXPECT_NE(refusal(R"("experts": [4], "rank": 2, "expert": 3)")
                .find("no such key of a study of specialisation"),
            std::string::npos);
  EXPECT_NE(refusal(R"("experts": [4], "rank": 2, "damage": "loss")")
                .find("change or drop"),
            std::string::npos);
}

/// A line of `cell` as if it had been run: polysemanticity falls with experts.
SpecialiseResult result_of(const SpecialiseStudy& study,
                           const SpecialiseCell& cell,
                           const Launcher& launcher) {
  SpecialiseResult result;
  result.study = study.common.name;
  result.run = cell.cell.name;
  result.head = cell.head;
  result.experts = cell.experts;
  result.gate = cell.gate;
  result.norm = cell.norm;
  result.seed = cell.seed;
  result.parameters = cell.parameters;
  result.accuracy = 0.8 + 0.01 * static_cast<double>(cell.seed);
  result.loss = 0.5;
  result.low = result.high = result.polysemanticity = NAN;
  if (cell.experts > 0) {
    result.polysemanticity = 1 / std::sqrt(static_cast<double>(cell.experts)) +
                             0.001 * static_cast<double>(cell.seed);
    result.skipped = cell.experts / 4;
  }
  result.command = shell_text(
      launcher.words_of(study.common, cell.cell, RunPlaces("/runs/one")));
  return result;
}

TEST_F(SpecialiseStudyTest, GoesOnWithWhatIsLeftAndDrawsTheCurve) {
  const std::string members =
      R"("experts": [4, 8, 32], "rank": 6, "seeds": [1, 2, 3])";
  const auto study = read(members);
  const Launcher launcher{.program = "mumoe", .scripts = "/launch"};
  std::vector<SpecialiseResult> results;
  for (const SpecialiseCell& cell : study.cells) {
    const auto line = to_json(result_of(study, cell, launcher));
    results.push_back(specialise_from_json(line, "results.jsonl:1"));
    EXPECT_EQ(to_json(results.back()), line);
  }
  EXPECT_TRUE(heads_left(study, results, true).empty());
  results[3].failed = "it did";
  results.erase(results.begin() + 7);
  EXPECT_EQ(heads_left(study, results, true), (std::vector<std::size_t>{3, 7}));
  EXPECT_EQ(heads_left(study, results, false), std::vector<std::size_t>{7});
  // Other settings are another study.
  const auto other = read(members + R"(, "layout": {"dp": 2})");
  EXPECT_EQ(heads_left(other, results, true).size(), other.cells.size());

  const auto heads = head_figures(results_of(study, results));
  ASSERT_EQ(heads.size(), 8u) << "two linear ones, 3 by entmax, 3 by softmax";
  EXPECT_EQ(heads[0].model, "linear");
  const auto found = std::ranges::find(heads,
                                       std::string("cp-32-entmax15-batch"),
                                       &HeadFigures::model);
  ASSERT_NE(found, heads.end());
  ASSERT_EQ(found->polysemanticity.values.size(), 3u);
  EXPECT_NEAR(*found->polysemanticity.mean(), 1 / std::sqrt(32) + 0.002, 1e-12);
  // Student's 2.920 of two degrees, deviation 0.001, three seeds
  const auto interval = found->polysemanticity.interval();
  EXPECT_NEAR(interval->high - interval->low, 2 * 2.92e-3 / std::sqrt(3), 1e-9);
  EXPECT_NEAR(*found->skipped.mean(), 0.25, 1e-12);

  const auto charts = specialise_charts(heads);
  ASSERT_EQ(charts.size(), 3u);
  ASSERT_EQ(charts[0].chart.panels.size(), 1u);
  EXPECT_EQ(charts[0].chart.panels[0].series.size(), 2u);
  EXPECT_EQ(charts[1].chart.panels[0].series.size(), 4u)
      << "and the linear ones";
  write_specialise_page(folder_.path() / "page", results, "a <study>", "drop");
  const auto html = read_file(folder_.path() / "page" / "report.html");
  EXPECT_EQ(testing::markup_error(html), "");
  EXPECT_NE(html.find("max(y − y&#39;, 0)"), html.npos) << "its own damage";
  EXPECT_TRUE(
      std::filesystem::exists(folder_.path() / "page" / "accuracy.png"));
}

}  // namespace
}  // namespace mumoe::study

#include "study/report/scale_report.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "base/file.h"
#include "study/report/page.h"
#include "study/report/scale_cells.h"
#include "study/report/scale_charts.h"
#include "study/report/scale_series.h"
#include "study/report/scale_tables.h"
#include "tests/study/markup.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::study {
namespace {

using testing::count_of;
using testing::expect_input_error;
using testing::markup_error;
using testing::ScratchFolder;

/// A run of 16 samples of 100 tokens that takes `step_ms`.
ScaleResult run(const std::string& model,
                int dp,
                int tp,
                const std::string& plan,
                double step_ms,
                int repeat = 0) {
  ScaleResult result;
  result.study = "small";
  result.model = model;
  result.scaling = "strong";
  result.dp = dp;
  result.tp = tp;
  result.ranks = dp * tp;
  result.plan = plan;
  result.cell = fmt::format("{}/{}x{}-{}/strong", model, dp, tp, plan);
  result.micro_batch = 4;
  result.batch = 16;
  result.precision = "fp32";
  result.repeat = repeat;
  result.steps = 12;
  result.step_ms = step_ms;
  result.targets_per_s = 1600 * 1000 / step_ms;
  result.mfu = 0.3;
  result.sol = 0.4;
  result.rss_mib = 500;
  result.dp_bytes = dp > 1 ? 2e6 : 0;
  result.tp_bytes = tp > 1 ? 5e6 : 0;
  result.loss = 5.5;
  result.parameters = 1234567;
  result.flops_per_target = 21.5e6;
  result.command = "mumoe train --train.out runs/x";
  result.version = "0.1.0";
  result.finished = "2026-01-01T00:00:00Z";
  return result;
}

ScaleResult failed(ScaleResult result, const std::string& why) {
  result.failed = why;
  result.code = 2;
  return result;
}

/// One rank, dp 2 and both tp plans of 2, three repeats each; dp 4 failed.
std::vector<ScaleResult> small_study() {
  std::vector<ScaleResult> results;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const double noise = 1 + 0.01 * repeat;
    for (const char* model : {"dense", "cp"}) {
      results.push_back(run(model, 1, 1, "sequence", 100 * noise, repeat));
      results.push_back(run(model, 2, 1, "sequence", 60 * noise, repeat));
      results.back().predicted = Predicted{66, 50, 80, 510};
      results.push_back(run(model, 1, 2, "sequence", 70 * noise, repeat));
      results.push_back(run(model, 1, 2, "bottleneck", 80 * noise, repeat));
    }
  }
  results.push_back(
      failed(run("cp", 4, 1, "sequence", 0), "no <memory> & \"\""));
  return results;
}

TEST(Page, EscapesWhatItIsGiven) {
  EXPECT_EQ(escaped("<b>&\"'"), "&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(escaped("µ×\n"), "µ×\n");
  EXPECT_EQ(escaped(std::string_view("\0\x1b", 2)), "\ufffd\ufffd");
  const std::string odd = "<b>&\"";
  Page page(odd);
  page.section(odd);
  page.paragraph(odd);
  page.list({odd});
  page.figure("<svg></svg>", odd);
  page.table({odd, {{odd}, {odd, Column::Kind::code}}, {{odd, odd}}});
  const auto html = page.html();
  EXPECT_EQ(markup_error(html), "");
  EXPECT_EQ(count_of(html, "<b>"), 0u);
  // Title twice; section and contents; and once each of the others.
  EXPECT_EQ(count_of(html, "&lt;b&gt;&amp;&quot;"), 12u);
  EXPECT_EQ(count_of(html, "href=\"#s1\""), 1u);
  EXPECT_EQ(count_of(html, "id=\"s1\""), 1u);
}

TEST(ScaleCells, RepeatsMakeMedianAndEnds) {
  auto results = small_study();
  const auto step = [](const ScaleResult& r) { return r.step_ms; };
  const auto spread = cells_of(results)[0].spread(step);
  ASSERT_TRUE(spread);
  EXPECT_DOUBLE_EQ(spread->median, 101);
  EXPECT_DOUBLE_EQ(spread->low, 100);
  EXPECT_DOUBLE_EQ(spread->high, 102);
  // Of two runs of a repeat the last; what is not finite counts for nothing.
  results.push_back(run("dense", 1, 1, "sequence", 104, 0));
  results.push_back(run("dense", 1, 1, "sequence", std::nan(""), 1));
  const auto again = cells_of(results)[0].spread(step);
  ASSERT_TRUE(again);
  EXPECT_DOUBLE_EQ(again->median, 103);
  EXPECT_DOUBLE_EQ(again->low, 102);
}

TEST(ScaleCells, FamiliesStartAtOneRank) {
  const auto cells = cells_of(small_study());
  ASSERT_EQ(cells.size(), 9u);
  const auto families = families_of(cells);
  std::vector<std::string> names;
  for (const Family& family : families) {
    names.push_back(family.model + ": " + family.name);
    EXPECT_EQ(family.cells.front()->what.ranks, 1);
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{"dense: dp",
                                      "cp: dp",
                                      "dense: tp, sequence",
                                      "dense: tp, bottleneck",
                                      "cp: tp, sequence",
                                      "cp: tp, bottleneck"}));
  EXPECT_EQ(families[1].cells.size(), 3u);
}

TEST(ScaleCells, NamesTellVariedSettingsApart) {
  auto one = run("cp", 2, 1, "sequence", 60), other = one;
  other.zero = 0;
  other.cell = "cp/2x1-zero0/strong";
  const auto mixed = run("cp", 2, 2, "bottleneck", 60);
  const auto cells = cells_of({one, other, mixed});
  std::vector<std::string> names;
  for (const Family& family : families_of(cells)) names.push_back(family.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"dp, zero 1",
                                      "dp, zero 0",
                                      "dp × tp 2, bottleneck, zero 1"}));
}

TEST(ScaleCells, AMicroBatchThatFollowsFromTheRanksIsNoSetting) {
  std::vector<ScaleResult> results;
  for (const int dp : {1, 2, 4}) {
    results.push_back(run("cp", dp, 1, "sequence", 60));
    results.back().micro_batch = 16 / dp;
  }
  auto families = families_of(cells_of(results));
  ASSERT_EQ(families.size(), 1u) << "one line over 1, 2 and 4 ranks";
  EXPECT_EQ(families[0].name, "dp");
  EXPECT_EQ(families[0].cells.size(), 3u);
  // Two of one layout are.
  results.push_back(results.back());
  results.back().cell += "-micro2";
  results.back().micro_batch = 2;
  families = families_of(cells_of(results));
  EXPECT_EQ(std::ranges::count_if(families,
                                  [](const Family& family) {
                                    return family.name == "dp, micro-batch 2";
                                  }),
            1);
}

TEST(ScaleCells, EfficiencyIsThatOfARank) {
  const auto cells = cells_of(small_study());
  const ScaleCell* baseline = baseline_of(cells, cells[1]);
  ASSERT_EQ(baseline, &cells[0]);
  EXPECT_EQ(baseline_of(cells, cells[5]), &cells[4]);
  // 101 ms on one rank, 60 ms on two.
  const auto share = efficiency(*baseline, run("dense", 2, 1, "", 60));
  ASSERT_TRUE(share);
  EXPECT_NEAR(*share, 101. / 120, 1e-12);
  EXPECT_NEAR(*targets_a_step(cells, cells[8]), 1600, 1e-9);
}

TEST(ScaleCharts, ShowWhatWasMeasuredAndPredicted) {
  const auto cells = cells_of(small_study());
  std::vector<std::string> names;
  const auto charts = scale_charts(cells);
  for (const NamedChart& chart : charts) names.push_back(chart.name);
  // Nothing has exposed_ms.
  EXPECT_EQ(names,
            (std::vector<std::string>{"throughput_strong",
                                      "efficiency_strong",
                                      "mfu_strong",
                                      "memory_strong",
                                      "bytes_strong"}));
  const Chart& chart = charts[0].chart;
  ASSERT_EQ(chart.panels.size(), 2u);
  EXPECT_EQ(chart.y.label, "tokens/s");
  const auto& series = chart.panels[0].series;
  EXPECT_EQ(series[0].name, "ideal");
  ASSERT_EQ(series[0].points.size(), 2u);
  EXPECT_NEAR(series[0].points[1].y / series[0].points[0].y, 2, 1e-12);
  EXPECT_EQ(series[1].name, "dp");
  EXPECT_NEAR(series[1].points[1].y, 1600e3 / 60.6, 1e-6);
  EXPECT_NEAR(*series[1].points[1].high, 1600e3 / 60, 1e-6);
  // 66 ms, from 50 to 80.
  ASSERT_EQ(series[2].band.size(), 1u);
  EXPECT_NEAR(series[2].points[0].y, 1600e3 / 66, 1e-6);
  EXPECT_NEAR(series[2].band[0].low, 1600e3 / 80, 1e-6);
  ASSERT_EQ(chart.notes.size(), 1u);
  EXPECT_EQ(chart.notes[0], "Failed, so not here: cp/4x1-sequence/strong.");
  // The ideal of the panel that has a failed cell of four ranks is as long.
  EXPECT_EQ(chart.panels[1].series[0].points[1].x, 4);
}

TEST(ScaleTables, NameFailuresAndLeaveOutWhatIsTheSame) {
  auto results = small_study();
  results.push_back(run("cp", 4, 1, "sequence", 40, 1));
  results.push_back(failed(run("cp", 4, 1, "sequence", 0, 1), "late"));
  const auto cells = cells_of(results);
  const Table table = cell_table(cells);
  EXPECT_NE(table.caption.find("The same in all: nodes 1, zero 1, micro-batch "
                               "4, batch 16, recompute no, precision fp32."),
            table.caption.npos)
      << table.caption;
  for (const auto& row : table.rows) {
    ASSERT_EQ(row.size(), table.columns.size());
  }
  const Table failures = failure_table(cells);
  ASSERT_EQ(failures.rows.size(), 2u);
  EXPECT_EQ(failures.rows[0][3], "no <memory> & \"\"");
  EXPECT_EQ(failures.rows[0][4], "not measured");
  EXPECT_EQ(failures.rows[1][4], "measured");
  EXPECT_EQ(run_table(cells).rows.size(), 25u);
  EXPECT_EQ(model_table(cells).rows.size(), 2u);
  // 66 instead of 60.6 ms, both inside.
  EXPECT_EQ(prediction_line(cells),
            "Predicted step times are off by 8.9 % in the mean and 8.9 % at "
            "most; 2 of 2 measured cells lie within their 90 % interval.");
}

TEST(ScaleReport, IsOnePageAndItsChartsAsFiles) {
  const ScratchFolder folder;
  const auto out = folder.path() / "new" / "report";
  auto results = small_study();
  results[0].command = "mumoe train --x 'https://example.org/<b>&\"'";
  write_scale_report(out, results, "<b>&\" study");
  const auto html = read_file(out / "report.html");
  EXPECT_EQ(markup_error(html), "");
  // The one address is in a command line, escaped like it.
  EXPECT_EQ(count_of(html, "http"), 1u);
  EXPECT_EQ(count_of(html, "https://example.org/&lt;b&gt;&amp;&quot;"), 1u);
  EXPECT_EQ(count_of(html, "<script"), 0u);
  EXPECT_EQ(count_of(html, "url(#"), count_of(html, "strong-clip"));
  EXPECT_EQ(count_of(html, "no &lt;memory&gt; &amp; &quot;&quot;"), 1u);
  EXPECT_EQ(count_of(html, "<h1>&lt;b&gt;&amp;&quot; study</h1>"), 1u);
  EXPECT_EQ(count_of(html, "<svg"), 5u);
  EXPECT_EQ(count_of(html, "no run has measured it"), 1u);
  for (const char* name :
       {"throughput", "efficiency", "mfu", "memory", "bytes"}) {
    const auto file = out / fmt::format("{}_strong", name);
    EXPECT_EQ(markup_error(read_file(file.string() + ".svg")), "") << name;
    EXPECT_EQ(read_file(file.string() + ".png").substr(1, 3), "PNG") << name;
  }
  // Again, over what is there.
  write_scale_report(out, results, "again");
  EXPECT_EQ(count_of(read_file(out / "report.html"), "<h1>again</h1>"), 1u);
}

TEST(ScaleReport, OfFailuresAloneAndOfNothing) {
  const ScratchFolder folder;
  write_scale_report(folder.path(),
                     {failed(run("cp", 2, 1, "", 0), "gone")},
                     "none");
  const auto html = read_file(folder.path() / "report.html");
  EXPECT_EQ(markup_error(html), "");
  EXPECT_EQ(count_of(html, "<svg"), 0u);
  EXPECT_EQ(count_of(html, ">gone<"), 1u);
  expect_input_error([&] { write_scale_report(folder.path(), {}, "none"); },
                     {folder.path().string(), "no results"});
  const auto file = folder.write("file", "");
  expect_input_error(
      [&] { write_scale_report(file / "x", small_study(), "none"); },
      {file.string()});
}

TEST(ScaleReport, NumbersThatAreNotThereDoNotShow) {
  const ScratchFolder folder;
  auto results = small_study();
  for (ScaleResult& result : results) {
    result.mfu = std::nan("");
    result.sol = {};
    result.loss = INFINITY;
  }
  write_scale_report(folder.path(), results, "gaps");
  const auto html = read_file(folder.path() / "report.html");
  EXPECT_EQ(count_of(html, "nan<"), 0u);
  EXPECT_EQ(count_of(html, "inf<"), 0u);
  EXPECT_EQ(count_of(html, "MFU %"), 0u);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "mfu_strong.svg"));
}

}  // namespace
}  // namespace mumoe::study

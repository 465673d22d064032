#include "study/report/loss_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "base/json.h"
#include "study/report/loss_charts.h"
#include "study/report/loss_tables.h"
#include "tests/study/markup.h"
#include "tests/study/synthetic_losses.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::study {
namespace {

using testing::count_of;
using testing::expect_input_error;
using testing::markup_error;
using testing::ScratchFolder;

/// Small models of three forms, as a study of some minutes has them.
std::vector<LossPoint> small_study(int seeds = 2) {
  std::vector<LossPoint> points;
  double better = 1;
  for (const char* form : {"tr", "dense", "cp"}) {
    SyntheticLosses what;
    what.form = form;
    what.sizes = {2e6, 4e6, 8e6, 16e6, 32e6};
    what.tokens = {1.2e8, 2.4e8, 4.8e8, 9.6e8};
    what.law = {1.1, 60 * better, 0.3, 900, 0.4};
    what.seeds = seeds;
    what.noise = 0.003;
    what.random = hash_name(form);
    better -= 0.04;
    for (const LossPoint& point : synthetic_losses(what)) {
      points.push_back(point);
    }
  }
  return points;
}

std::size_t longest_line(const std::string& text) {
  std::istringstream lines(text);
  std::size_t longest = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto width = std::ranges::count_if(line, [](char c) {
      return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    });
    longest = std::max(longest, static_cast<std::size_t>(width));
  }
  return longest;
}

TEST(LossText, HasLawsAndComparisonsIn80Columns) {
  const auto points = small_study();
  const auto text = loss_text(points);
  EXPECT_EQ(text, loss_text(points));
  EXPECT_LE(longest_line(text), 80u) << text;
  for (const char* part : {"alpha",
                           "\ndense ",
                           "\nall ",
                           "times for dense",
                           "tr: loss ",
                           "cp: loss "}) {
    EXPECT_NE(text.find(part), text.npos) << part << " is not in\n" << text;
  }
  EXPECT_EQ(text.back(), '\n');
  EXPECT_EQ(count_of(text, "nan"), 0u);
}

TEST(LossText, SaysWhyThereIsNoLaw) {
  SyntheticLosses what;
  what.sizes = {1e8};
  const auto text = loss_text(synthetic_losses(what));
  EXPECT_EQ(text, "dense: no law; 1 size: alpha takes at least 3\n");
}

TEST(LossJson, HoldsWhatTheTextSays) {
  const auto points = small_study();
  const auto json = parse_json(loss_json(points), "losses");
  EXPECT_EQ(json["points"].size(), points.size());
  ASSERT_EQ(json["forms"].size(), 3u);
  const auto& dense = json["forms"][0];
  EXPECT_EQ(dense["form"], "dense");
  EXPECT_NEAR(dense["law"]["alpha"]["value"].get<double>(), 0.3, 0.2);
  const auto& interval = dense["size_exponent"]["interval"];
  EXPECT_LT(interval[0].get<double>(), interval[1].get<double>());
  EXPECT_NEAR(dense["flops_factor"].get<double>(), 6, 1e-9);
  EXPECT_TRUE(json["all_forms"].contains("law"));
  ASSERT_EQ(json["comparisons"].size(), 2u);
  EXPECT_EQ(json["comparisons"][0]["cells"].size(), 20u);
  const auto one = parse_json(loss_json({&points[0], 1}), "one");
  EXPECT_TRUE(one["forms"][0]["law"].is_null());
}

TEST(LossCharts, ShowEveryFormAndItsMinima) {
  const auto all = analyse_losses(small_study(), {40, 1});
  const auto charts = loss_charts(all);
  std::vector<std::string> names;
  for (const NamedChart& chart : charts) names.push_back(chart.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"loss_tokens",
                                      "loss_flops",
                                      "isoflop",
                                      "residuals"}));
  for (const NamedChart& named : charts) {
    const auto& panels = named.chart.panels;
    if (named.name == "loss_flops") {
      ASSERT_EQ(panels.size(), 1u);
      EXPECT_EQ(panels[0].series.size(), 6u);
      continue;
    }
    ASSERT_EQ(panels.size(), 3u) << named.name;
    EXPECT_EQ(panels[0].title, "dense");
  }
  const Panel& iso = charts[2].chart.panels[0];
  const Series& best = iso.series.back();
  EXPECT_EQ(best.name, "best size by the law");
  EXPECT_FALSE(best.points.empty());
  EXPECT_FALSE(iso.series[1].band.empty());
  // Curves stay near what was measured, 2.41 at most.
  for (const Series& series : iso.series) {
    for (const BandPoint& at : series.band) EXPECT_LT(at.high, 1.2 * 2.42);
  }
  // Each mark of the residuals is as far from 0 as its loss from its law.
  const Series& residual = charts[3].chart.panels[0].series[0];
  const LossCurve& curve = all.forms[0].curves[0];
  const double law =
      all.forms[0].law.fit.law->at(curve.parameters, curve.cells[0].tokens);
  EXPECT_NEAR(residual.points[0].y,
              100 * (curve.cells[0].mean() / law - 1),
              1e-9);
}

TEST(LossReport, IsOnePageAndItsChartsAsFiles) {
  const ScratchFolder folder;
  const auto out = folder.path() / "new" / "report";
  const auto points = small_study();
  write_loss_report(out, points, "<b>&\" losses");
  const auto html = read_file(out / "report.html");
  EXPECT_EQ(markup_error(html), "");
  EXPECT_EQ(count_of(html, "http"), 0u);
  EXPECT_EQ(count_of(html, "<script"), 0u);
  EXPECT_EQ(count_of(html, "<link"), 0u);
  EXPECT_EQ(count_of(html, "@import"), 0u);
  EXPECT_EQ(count_of(html, "<h1>&lt;b&gt;&amp;&quot; losses</h1>"), 1u);
  EXPECT_EQ(count_of(html, "<svg"), 4u);
  EXPECT_EQ(count_of(html, ">nan<"), 0u);
  EXPECT_EQ(count_of(html, "<td>dense-32</td>"), 4u);
  for (const char* name :
       {"loss_tokens", "loss_flops", "isoflop", "residuals"}) {
    const auto file = out / name;
    EXPECT_EQ(markup_error(read_file(file.string() + ".svg")), "") << name;
    EXPECT_EQ(read_file(file.string() + ".png").substr(1, 3), "PNG") << name;
  }
  // Ids in an SVG count on within a process; what they show is the same.
  write_loss_report(folder.path() / "again", points, "<b>&\" losses");
  EXPECT_EQ(read_file(folder.path() / "again" / "isoflop.png"),
            read_file(out / "isoflop.png"));
}

TEST(LossReport, WithoutALawStillShowsTheLosses) {
  const ScratchFolder folder;
  SyntheticLosses what;
  what.sizes = {1e8};
  write_loss_report(folder.path(), synthetic_losses(what), "one size");
  const auto html = read_file(folder.path() / "report.html");
  EXPECT_EQ(markup_error(html), "");
  EXPECT_EQ(count_of(html, "1 size: alpha takes at least 3"), 1u);
  EXPECT_GE(count_of(html, "<svg"), 2u);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "residuals.svg"));
}

TEST(LossReport, LeavesOutAndNamesWhatHasNoLoss) {
  const ScratchFolder folder;
  auto points = small_study(1);
  points[3].loss = std::nan("");
  points[5].loss = INFINITY;
  std::vector<LossPoint> others = points;
  std::erase_if(others, [](const auto& point) { return !point.has_loss(); });
  ASSERT_EQ(others.size() + 2, points.size());
  const DrawOptions few{.draws = 20, .seed = 1};
  const auto json = parse_json(loss_json(points, few), "losses");
  const auto without = parse_json(loss_json(others, few), "losses");
  EXPECT_EQ(json["forms"], without["forms"]);
  EXPECT_EQ(json["points"], without["points"]);
  ASSERT_EQ(json["left_out"].size(), 2u);
  EXPECT_EQ(json["left_out"][0]["model"], points[3].model);
  EXPECT_TRUE(json["left_out"][0]["loss"].is_null());
  EXPECT_TRUE(without["left_out"].empty());
  const std::string line = points[3].model + ", 9.6e+08 tokens, seed 0: left ";
  const auto text = loss_text(points, few);
  EXPECT_EQ(count_of(text, line), 1u) << text;
  EXPECT_LE(longest_line(text), 80u) << text;
  write_loss_report(folder.path(), points, "some", few);
  EXPECT_EQ(count_of(read_file(folder.path() / "report.html"), line), 1u);
  for (LossPoint& point : points) point.loss = INFINITY;
  expect_input_error([&] { loss_text(points); }, {"no losses"});
}

TEST(LossReport, HasTheDrawsThatAreAskedFor) {
  const auto points = small_study(1);
  const auto drawn = [&](const DrawOptions& draws) {
    return parse_json(loss_json(points, draws), "losses")["forms"][0];
  };
  const auto few = drawn({.draws = 30, .seed = 1});
  EXPECT_EQ(few["draws"].get<int>() + few["failed_draws"].get<int>(), 30);
  EXPECT_EQ(few, drawn({.draws = 30, .seed = 1}));
  EXPECT_NE(few["law"]["alpha"]["interval"],
            drawn({.draws = 30, .seed = 2})["law"]["alpha"]["interval"]);
}

TEST(LossReport, RefusesWhatItCannotShow) {
  const ScratchFolder folder;
  auto points = small_study();
  expect_input_error([&] { write_loss_report(folder.path(), {}, "none"); },
                     {"no losses"});
  points[3].tokens = std::nan("");
  expect_input_error(
      [&] { write_loss_report(folder.path() / "x", points, "nan"); },
      {points[3].model, "tokens is nan"});
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "x"));
  const auto file = folder.write("file", "");
  expect_input_error(
      [&] { write_loss_report(file / "x", small_study(), "none"); },
      {file.string()});
}

}  // namespace
}  // namespace mumoe::study

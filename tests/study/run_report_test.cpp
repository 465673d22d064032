#include "study/runs/run_report.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "study/runs/run_charts.h"
#include "study/runs/run_metrics.h"
#include "study/runs/run_tables.h"
#include "study/runs/thinned.h"
#include "tests/study/markup.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::study {
namespace {

namespace fs = std::filesystem;
using testing::count_of;
using testing::expect_input_error;
using testing::markup_error;
using testing::ScratchFolder;
using train::ExpertFigures;
using train::StepReport;

StepReport step_of(std::int64_t step) {
  StepReport report;
  report.step = step;
  report.targets = step * 100;
  report.loss = 5.0 / (1.0 + 0.01 * static_cast<double>(step));
  report.grad_norm = 1;
  report.lr = 1e-3;
  report.step_ms = 20;
  report.targets_per_s = 5000;
  report.mfu = 0.25;
  report.sol = 0.5;
  report.rss_mib = 100;
  report.elapsed_s = 0.02 * static_cast<double>(step);
  report.time = "2026-11-26T10:40:12.345Z";
  return report;
}

ExpertFigures gate(const std::string& layer, double active) {
  ExpertFigures f{.layer = layer, .experts = 4, .tokens = 100};
  f.active = active;
  f.dead = 1;
  f.idle = 2;
  f.entropy = 0.5;
  f.effective = 2.5;
  f.largest[0] = 0.25;
  f.largest[1] = 0.5;
  f.largest[2] = 0.75;
  f.load = {0, 0.5, 1.5, 2};
  return f;
}

/// A run directory of `steps` steps.
void write_run(const ScratchFolder& folder,
               const std::string& name,
               int steps,
               const std::string& more = "") {
  std::string lines;
  for (int step = 1; step <= steps; ++step) {
    StepReport report = step_of(step);
    if (step % 2 == 0) {
      report.experts = {gate("h.0.mlp", 0.25), gate("h.1.mlp", 0.75)};
    }
    if (step == steps) report.evaluation = train::Evaluation{2.5};
    lines += to_json(report) + "\n";
  }
  folder.write(name + "/metrics.jsonl", lines + more);
  folder.write(name + "/config.cfg", "[train]\nsteps = 100\n");
  folder.write(name + "/provenance.json",
               R"({"version":"0.1.0","mesh":{"dp":2,"tp":1},"hosts":{"a":2}})");
}

const char* const kBad =
    R"({"event":"bad_step","step":3,"action":"skip","loss":null,)"
    R"("grad_norm":1,"why":"not finite","ranks":[0],"samples":[0,1],)"
    R"("indices":[0]})"
    "\n";

TEST(RunMetrics, AreWhatTheTrainerWrote) {
  const ScratchFolder folder;
  write_run(folder, "a", 6, kBad + train::sample_json(6, "text") + "\n{\"st");
  const RunMetrics m = metrics_in(folder.path() / "a" / "metrics.jsonl");
  ASSERT_EQ(m.points.size(), 6u);
  EXPECT_TRUE(m.growing);
  EXPECT_EQ(m.target, "token");
  const RunPoint& last = m.points.back();
  EXPECT_EQ(last.step, 6);
  EXPECT_EQ(last.targets, 600);
  EXPECT_EQ(last.loss, step_of(6).loss);
  EXPECT_EQ(last.mfu, 0.25);
  ASSERT_EQ(m.evaluations.size(), 1u);
  EXPECT_EQ(m.evaluations[0].found.loss, 2.5);
  ASSERT_EQ(m.experts.size(), 3u);
  EXPECT_EQ(train::to_json({m.experts[2].gates[1]}),
            train::to_json({gate("h.1.mlp", 0.75)}));
  ASSERT_EQ(m.events.size(), 2u);
  EXPECT_EQ(m.events[0].text, "skip: not finite (loss null, norm 1)");
  EXPECT_EQ(m.events[1].text, "text");
}

TEST(RunMetrics, OfAStepTheLastLineCounts) {
  const ScratchFolder folder;
  StepReport again = step_of(2);
  again.loss = 7;
  write_run(folder, "a", 4, to_json(again) + "\n");
  const RunMetrics m = metrics_in(folder.path() / "a" / "metrics.jsonl");
  ASSERT_EQ(m.points.size(), 2u);
  EXPECT_EQ(m.points[1].loss, 7);
  EXPECT_TRUE(m.evaluations.empty());
  EXPECT_TRUE(m.experts.empty());
}

// Lines of older versions say less; some losses are not finite.
TEST(RunMetrics, WhatALineDoesNotSayIsNotDrawn) {
  const ScratchFolder folder;
  write_run(folder,
            "a",
            0,
            R"({"step":1,"tokens":10,"loss":null})"
            "\n"
            R"({"step":2,"tokens":20,"loss":3.5})"
            "\n");
  const std::vector<fs::path> paths = {folder.path() / "a"};
  const auto runs = read_run_records(paths);
  EXPECT_TRUE(std::isnan(runs[0].metrics.points[0].loss));
  EXPECT_TRUE(std::isnan(runs[0].metrics.points[1].mfu));
  const auto charts = run_charts(runs);
  ASSERT_EQ(charts.size(), 2u) << "loss by step and by tokens";
  EXPECT_EQ(charts[0].chart.panels[0].series[0].points.size(), 1u);
}

TEST(RunRecord, BadInputIsALine) {
  const ScratchFolder folder;
  const auto refused = [&](const std::string& name,
                           std::initializer_list<std::string> parts) {
    expect_input_error([&] { read_run_record(folder.path() / name); }, parts);
  };
  refused("none", {"none: no such folder"});
  write_run(folder, "a", 2);
  const auto a = folder.path() / "a";
  refused("a/config.cfg", {"no such folder"});
  folder.write("a/metrics.jsonl", "");
  refused("a", {"metrics.jsonl: has no step yet"});
  folder.write("a/metrics.jsonl", "{\"step\":1,\"lo");
  refused("a", {"metrics.jsonl: has no step yet"});
  folder.write("a/metrics.jsonl", "{\"step\":1}\nstep 2\n");
  refused("a", {"metrics.jsonl:2"});
  folder.write("a/metrics.jsonl", "{\"step\":1}\n[2]\n");
  refused("a", {"metrics.jsonl:2", "a whole number"});
  folder.write("a/metrics.jsonl", "{\"step\":1,\"experts\":[{\"layer\":3}]}\n");
  refused("a", {"metrics.jsonl:1: experts"});
  write_run(folder, "a", 2);
  folder.write("a/config.cfg", "[train]\nsteps = 100\nfuture = 3\n");
  refused("a", {"config.cfg:3", "train.future"});
  write_run(folder, "a", 2);
  folder.write("a/provenance.json", "{}");
  refused("a", {"provenance.json: expected that of a run"});
  fs::remove(a / "metrics.jsonl");
  refused("a", {"has no metrics.jsonl; expected a run directory"});
}

TEST(RunRecord, NamesDiffer) {
  const ScratchFolder folder;
  write_run(folder, "x/run", 2);
  write_run(folder, "y/run", 2);
  const std::vector<fs::path> paths = {folder.path() / "x/run/",
                                       folder.path() / "y/run"};
  const auto runs = read_run_records(paths);
  EXPECT_EQ(runs[0].name, "x/run");
  EXPECT_EQ(runs[1].name, "y/run");
}

TEST(RunSummary, IsOfTheWholeRun) {
  const ScratchFolder folder;
  write_run(folder, "a", 20, kBad);
  folder.write("a/log.txt",
               "step 1/20\nresumed after step 10 from a/checkpoints\n");
  const RunRecord run = read_run_record(folder.path() / "a");
  const RunSummary s = summary_of(run);
  EXPECT_EQ(s.steps, 20);
  EXPECT_NEAR(s.loss, 5 / 1.155, 0.01) << "of the last ten steps";
  EXPECT_EQ(s.last_loss, 2.5);
  EXPECT_EQ(s.best_step, 20);
  EXPECT_EQ(s.step_ms, 20);
  EXPECT_EQ(s.bad_steps, 1);
  EXPECT_EQ(s.resumes, 1);
  EXPECT_DOUBLE_EQ(s.active, 0.5);
  EXPECT_EQ(s.dead, 2);
  EXPECT_EQ(s.experts, 8);
  const auto events = event_table({&run, 1}).rows;
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1][3], "from a/checkpoints");
}

TEST(Thinned, KeepsLeastAndLargest) {
  std::vector<ChartPoint> points;
  for (int i = 0; i < 100'000; ++i) {
    points.push_back({static_cast<double>(i), std::sin(0.001 * i)});
  }
  points[70'001].y = 50;
  points[30'001].y = -50;
  points[5].y = NAN;
  const Thinned kept = thinned(points, 300);
  EXPECT_LE(kept.points.size(), 301u);
  EXPECT_EQ(kept.band.size(), kept.points.size());
  EXPECT_EQ(std::ranges::max(kept.band, {}, &BandPoint::high).high, 50);
  EXPECT_EQ(std::ranges::min(kept.band, {}, &BandPoint::low).low, -50);
  for (std::size_t i = 0; i < kept.points.size(); ++i) {
    EXPECT_LE(kept.band[i].low, kept.points[i].y);
    EXPECT_GE(kept.band[i].high, kept.points[i].y);
    if (i > 0) {
      EXPECT_GT(kept.points[i].x, kept.points[i - 1].x);
    }
  }
  points.resize(300);
  EXPECT_EQ(thinned(points, 300).points.size(), 299u) << "one has no place";
  EXPECT_TRUE(thinned(points, 300).band.empty());
}

TEST(RunReport, IsOnePageWithItsCharts) {
  const ScratchFolder folder;
  write_run(folder, "a&b", 20, kBad + train::sample_json(20, "<b>") + "\n");
  write_run(folder, "c", 10);
  folder.write("c/config.cfg", "[train]\nsteps = 10\n[optimizer]\nlr = 0.5\n");
  const std::vector<fs::path> paths = {folder.path() / "a&b",
                                       folder.path() / "c"};
  const auto runs = read_run_records(paths);
  const auto out = folder.path() / "out";
  write_run_report(out, runs);
  const std::string html = read_file(out / "report.html");
  EXPECT_EQ(markup_error(html), "");
  for (const char* name : {"loss_step",
                           "loss_targets",
                           "loss_time",
                           "validation_loss",
                           "rate",
                           "peak",
                           "gradient_norm",
                           "learning_rate",
                           "experts_step",
                           "experts_layer"}) {
    EXPECT_EQ(markup_error(read_file(out / (std::string(name) + ".svg"))), "");
    EXPECT_TRUE(
        read_file(out / (std::string(name) + ".png")).starts_with("\x89PNG"));
    EXPECT_NE(html.find(std::string(name) + ".svg"), html.npos) << name;
  }
  for (const char* part : {"a&amp;b",
                           "&lt;b&gt;",
                           "skip: not finite",
                           "optimizer.lr",
                           "dp 2 x tp 1",
                           "h.1.mlp"}) {
    EXPECT_NE(html.find(part), html.npos) << part;
  }
  EXPECT_EQ(html.find("<script"), html.npos);
  EXPECT_EQ(html.find("http"), html.npos) << "it asks for something elsewhere";
  EXPECT_EQ(html.find("optimizer.beta1"), html.npos) << "it does not differ";
  const auto json = nlohmann::json::parse(run_json(runs));
  ASSERT_EQ(json["runs"].size(), 2u);
  EXPECT_EQ(json["runs"][0]["summary"]["steps"], 20);
  EXPECT_EQ(json["runs"][0]["curves"]["loss"]["x"].size(), 20u);
  EXPECT_EQ(json["runs"][0]["experts"]["gates"][1]["active"], 0.75);
  EXPECT_EQ(json["runs"][1]["settings"]["optimizer.lr"], "0.5");
  EXPECT_EQ(json["runs"][0]["events"][0]["what"], "bad step");
}

TEST(RunReport, OfALongRunIsQuickAndSmall) {
  const ScratchFolder folder;
  write_run(folder, "a", 2);
  std::string lines;
  constexpr int kSteps = 50'000;
  const std::string like = to_json(step_of(1));
  const auto rest = like.substr(like.find(','));
  for (int step = 1; step <= kSteps; ++step) {
    lines += fmt::format("{{\"step\":{}{}\n", step, rest);
  }
  folder.write("a/metrics.jsonl", lines);
  const std::vector<fs::path> paths = {folder.path() / "a"};
  const auto began = std::chrono::steady_clock::now();
  const auto runs = read_run_records(paths);
  EXPECT_EQ(runs[0].metrics.points.size(), static_cast<std::size_t>(kSteps));
  write_run_report(folder.path() / "out", runs);
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - began;
  EXPECT_LT(took.count(), 10);
  EXPECT_LT(fs::file_size(folder.path() / "out" / "report.html"), 1 << 20);
}

TEST(RunReport, BecomesEventFiles) {
  const ScratchFolder folder;
  write_run(folder, "a", 6);
  const RunRecord run = read_run_record(folder.path() / "a");
  for (int time = 0; time < 2; ++time) {
    const auto own = write_events(folder.path() / "boards", run);
    EXPECT_EQ(own, folder.path() / "boards" / "a");
    EXPECT_EQ(std::distance(fs::directory_iterator(own), {}), 1)
        << "in place of what was there";
  }
}

}  // namespace
}  // namespace mumoe::study

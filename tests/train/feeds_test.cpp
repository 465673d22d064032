// What other programs look at while a run goes on: TensorBoard's event files,
// and Prometheus's text. tests/launch/scripts/report_test.sh reads the former
// with TensorBoard itself.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "base/file.h"
#include "dist/self_communicator.h"
#include "tests/support/errors.h"
#include "tests/train/small_run.h"
#include "train/event_file.h"
#include "train/prometheus.h"
#include "train/tensorboard.h"

namespace mumoe::train {
namespace {

namespace fs = std::filesystem;
using mumoe::testing::ScratchFolder;
using mumoe::testing::SmallRun;
using mumoe::testing::train_small;

TEST(EventFile, HasTheCastagnoliCrc) {
  // Its check value, 0xe3069283, rotated by 15 and with TFRecord's constant.
  const std::uint32_t crc = 0xe3069283u;
  EXPECT_EQ(masked_crc32c("123456789"),
            ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with("events.")) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

TEST(EventFile, IsCutBehindAStep) {
  const ScratchFolder folder;
  std::map<std::int64_t, std::uintmax_t> size;
  fs::path path;
  {
    EventFile file(folder.path(), 1);
    path = file.path();
    for (const std::int64_t step : {1, 2, 3, 4}) {
      file.write({1e9, step, {{"loss", 1.0}}});
      size[step] = fs::file_size(path);
    }
  }
  const std::string whole = read_file(path);
  for (const std::int64_t steps : {4, 3, 2}) {
    cut_event_files(folder.path(), steps);
    EXPECT_EQ(read_file(path), whole.substr(0, size[steps]));
  }
  // A record that is not all there, or not what was written, ends it.
  for (const std::size_t lost : {1u, 3u, 9u}) {
    folder.write(path.filename(), whole.substr(0, whole.size() - lost));
    cut_event_files(folder.path(), 10);
    EXPECT_EQ(fs::file_size(path), size[3]) << lost;
  }
  std::string flipped = whole;
  flipped[size[2] + 14] ^= 1;
  folder.write(path.filename(), flipped);
  cut_event_files(folder.path(), 10);
  EXPECT_EQ(fs::file_size(path), size[2]);
  // What is of other programs stays.
  folder.write("events.out.tfevents.1.host.2.3", "theirs");
  cut_event_files(folder.path(), 0);
  EXPECT_EQ(files_in(folder.path()).size(), 1u);
  cut_event_files(folder.path() / "nowhere", 0);
}

TEST(EventFile, HistogramsHoldAllValues) {
  const auto h = histogram_of({0, 1, 1, 2, 10}, 5);
  EXPECT_EQ(h.limits, (std::vector<double>{2, 4, 6, 8, 10}));
  EXPECT_EQ(h.counts, (std::vector<double>{4, 0, 0, 0, 1}));
  EXPECT_EQ(h.min, 0);
  EXPECT_EQ(h.max, 10);
  EXPECT_EQ(h.sum, 14);
  EXPECT_EQ(h.sum_squares, 106);
  EXPECT_EQ(histogram_of({3, 3}, 4).counts[0], 2);
}

TEST(TensorBoard, FoldersAreTheRunsOwn) {
  run::TrainerConfig config;
  config.out = "runs/mine/";
  EXPECT_FALSE(event_folder(config));
  config.tensorboard = "yes";
  EXPECT_EQ(event_folder(config), "runs/mine/");
  config.tensorboard = "/boards";
  EXPECT_EQ(event_folder(config), "/boards/mine");
}

TEST(TensorBoard, TimesAreThoseOfSteps) {
  EXPECT_NEAR(seconds_of("1970-01-02T00:00:01.250Z"), 86401.25, 1e-6);
  EXPECT_EQ(seconds_of("1970-01-01T00:01:00Z"), 60);
  EXPECT_EQ(seconds_of(""), 0);
  EXPECT_NEAR(seconds_of(utc_now()), static_cast<double>(::time(nullptr)), 2);
}

// What a run has written and lost since its checkpoint is there once.
TEST(TensorBoard, AResumedRunWritesWhatIsMissing) {
  const ScratchFolder folder;
  const auto self = dist::make_self_communicator(at::kCPU);
  SmallRun run;
  run.out = folder.path() / "run";
  run.tensorboard = "yes";
  run.steps = 4;
  run.checkpoint_every = 4;
  train_small(*self, run);
  const auto first = files_in(run.out);
  ASSERT_EQ(first.size(), 1u);
  const auto behind_four = fs::file_size(first[0]);
  {
    EventFile lost(run.out, 5);
    lost.write({1e9, 5, {{"loss/train", 1.0}}});
  }
  EXPECT_EQ(files_in(run.out).size(), 2u);
  run.resume = true;
  run.steps = 6;
  train_small(*self, run);
  const auto both = files_in(run.out);
  ASSERT_EQ(both.size(), 2u) << "what was lost is there";
  EXPECT_EQ(fs::file_size(first[0]), behind_four);
}

/// The values of a text for Prometheus, of which the form is right.
std::map<std::string, double> values_of(const std::string& text) {
  std::map<std::string, double> values;
  std::istringstream lines(text);
  std::string line, family, type;
  EXPECT_TRUE(text.ends_with("\n"));
  while (std::getline(lines, line)) {
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      continue;
    }
    if (line.starts_with("# TYPE ")) {
      EXPECT_TRUE(line.starts_with("# TYPE " + family + " ")) << line;
      type = line.substr(8 + family.size());
      EXPECT_EQ(type == "counter", family.ends_with("_total")) << line;
      continue;
    }
    EXPECT_TRUE(line.starts_with(family + "{")) << line;
    const auto close = line.rfind("} ");
    EXPECT_NE(close, line.npos) << line;
    EXPECT_TRUE(values.emplace(line.substr(0, close + 1), 0).second) << line;
    values[line.substr(0, close + 1)] =
        std::strtod(line.substr(close + 2).c_str(), nullptr);
  }
  return values;
}

TEST(Prometheus, ReadsTheLastFigures) {
  RunGauges gauges;
  gauges.run = "runs/\"a\\b\"";
  gauges.last = 100;
  gauges.step.step = 7;
  gauges.step.targets = 7000;
  gauges.step.loss = 1.5;
  gauges.step.targets_per_s = 1234.5;
  gauges.step.mfu = 0.25;
  gauges.step.time = "1970-01-01T00:01:00Z";
  gauges.step.grad_norm = INFINITY;
  gauges.step.experts = {{.layer = "h.0.mlp", .dead = 3},
                         {.layer = "h.1.mlp", .dead = 4}};
  const auto values = values_of(prometheus_text(gauges));
  const std::string run = R"(run="runs/\"a\\b\"")";
  const auto of = [&](const std::string& name, const std::string& more = "") {
    const auto found = values.find("mumoe_" + name + "{" + run + more + "}");
    return found == values.end() ? NAN : found->second;
  };
  EXPECT_EQ(of("step"), 7);
  EXPECT_EQ(of("steps"), 100);
  EXPECT_EQ(of("loss"), 1.5);
  EXPECT_EQ(of("tokens_total"), 7000);
  EXPECT_EQ(of("tokens_per_second"), 1234.5);
  EXPECT_EQ(of("mfu"), 0.25);
  EXPECT_EQ(of("last_step_timestamp_seconds"), 60);
  EXPECT_EQ(of("gradient_norm"), INFINITY);
  EXPECT_EQ(of("dead_experts", R"(,layer="h.0.mlp")"), 3);
  EXPECT_EQ(of("dead_experts", R"(,layer="h.1.mlp")"), 4);
  EXPECT_TRUE(std::isnan(of("validation_loss"))) << "not yet";
}

TEST(Prometheus, FileIsWrittenNowAndThenAndAtTheEnd) {
  const ScratchFolder folder;
  const auto path = folder.path() / "run.prom";
  PrometheusFile file(path, "r", 10, std::chrono::hours(1));
  StepReport report;
  report.step = 1;
  report.experts = {{.layer = "h.0.mlp", .dead = 3}};
  file.step(report);
  const std::string first = read_file(path);
  report.step = 2;
  report.experts.clear();
  file.step(report);
  EXPECT_EQ(read_file(path), first) << "too early";
  file.evaluated({2.5});
  file.bad_step(/*rewinds=*/false);
  file.finish();
  const auto values = values_of(read_file(path));
  EXPECT_EQ(values.at("mumoe_step{run=\"r\"}"), 2);
  EXPECT_EQ(values.at("mumoe_validation_loss{run=\"r\"}"), 2.5);
  EXPECT_EQ(values.at("mumoe_bad_steps_total{run=\"r\"}"), 1);
  EXPECT_EQ(values.at("mumoe_dead_experts{run=\"r\",layer=\"h.0.mlp\"}"), 3)
      << "those known last";
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1)
      << "something is left beside it";
}

TEST(Prometheus, AFileThatCannotBeWrittenEndsNoRun) {
  const ScratchFolder folder;
  const auto self = dist::make_self_communicator(at::kCPU);
  SmallRun run;
  run.steps = 2;
  run.out = folder.path() / "run";
  run.prometheus = folder.path() / "nowhere" / "run.prom";
  EXPECT_EQ(train_small(*self, run).state.step, 2);
  PrometheusFile file(run.prometheus, "r", 2);
  StepReport report;
  report.step = 1;
  file.step(report);
  EXPECT_NE(file.problem().find("run.prom"), std::string::npos);
}

TEST(Samples, AreInTheMetrics) {
  const ScratchFolder folder;
  const auto self = dist::make_self_communicator(at::kCPU);
  SmallRun run;
  run.steps = 4;
  run.eval_every = 2;
  run.out = folder.path() / "run";
  run.tensorboard = (folder.path() / "boards").string();
  run.sample_text = [] { return "a \"text\"\nof two lines"; };
  train_small(*self, run);
  const std::string text = read_file(run.out / "metrics.jsonl");
  for (const std::string step : {"2", "4"}) {
    const std::string event = R"({"event":"sample","step":)" + step +
                              R"(,"text":"a \"text\"\nof two lines"})";
    EXPECT_NE(text.find(event + "\n"), text.npos) << text;
  }
  EXPECT_LT(text.find("val_loss"), text.find(R"("sample","step":2)"));
  const auto files = files_in(folder.path() / "boards" / "run");
  ASSERT_EQ(files.size(), 1u);
  EXPECT_NE(read_file(files[0]).find("    of two lines"), std::string::npos);
}

}  // namespace
}  // namespace mumoe::train

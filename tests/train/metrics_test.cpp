#include "train/metrics.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <time.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::train {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

std::string three_steps() {
  std::string text;
  for (const std::int64_t step : {1, 2, 3}) {
    StepReport report;
    report.step = step;
    report.loss = 1.0 / static_cast<double>(step);
    text += to_json(report) + "\n";
  }
  return text;
}

TEST(Metrics, KeepWhatTheResumedRunDoesNotWriteAgain) {
  const ScratchFolder folder;
  const std::string text = three_steps();
  const auto two = text.substr(0, text.find("{\"step\":3"));
  // A crash cuts the last line, or leaves zeros where it was to be.
  for (const std::string end : {"", "{\"step\":3,\"lo", "{", "\r\n\n"}) {
    const auto file = folder.write("metrics.jsonl", text + end);
    require_metrics(folder.path());
    EXPECT_EQ(read_file(file), text + end) << "looking changed the file";
    MetricsFile(folder.path(), 2);
    EXPECT_EQ(read_file(file), two);
  }
  const auto file =
      folder.write("metrics.jsonl", text + std::string(100, '\0'));
  MetricsFile(folder.path(), 3);
  EXPECT_EQ(read_file(file), text);
  MetricsFile(folder.path(), 0);
  EXPECT_EQ(read_file(file), "");
}

TEST(Metrics, GoBackWhileTheRunGoesOn) {
  const ScratchFolder folder;
  const auto file = folder.write("metrics.jsonl", three_steps());
  MetricsFile metrics(folder.path(), 3);
  metrics.go_back(1, 8);
  EXPECT_EQ(metrics.last_step(), 1);
  StepReport again;
  again.step = 2;
  metrics.write(again);
  const std::string text = three_steps();
  EXPECT_EQ(read_file(file),
            text.substr(0, text.find("{\"step\":2")) + to_json(again) + "\n");
}

std::string event(const char* action, std::int64_t step, std::int64_t first) {
  BadStepReport bad;
  bad.step = step;
  bad.action = std::string_view(action) == "stop"   ? run::BadStep::stop
               : std::string_view(action) == "skip" ? run::BadStep::skip
                                                    : run::BadStep::rewind;
  bad.first = first;
  bad.count = 8;
  return to_json(bad) + "\n";
}

TEST(Metrics, EventsStayWhereTheRunHasThemBehindIt) {
  const ScratchFolder folder;
  const std::string text = three_steps();
  const auto two = text.substr(0, text.find("{\"step\":3"));
  const auto three = text.substr(two.size());
  const auto stopped = event("stop", 5, 32), back = event("rewind", 4, 24),
             left_out = event("skip", 3, 16);
  const auto path = folder.path() / "metrics.jsonl";
  const auto kept = [&](std::int64_t step, std::int64_t samples) {
    folder.write("metrics.jsonl", two + left_out + three + back + stopped);
    require_metrics(folder.path());
    MetricsFile file(folder.path(), step, samples);
    EXPECT_EQ(file.last_step(), step) << "events are no steps";
    return read_file(path);
  };
  EXPECT_EQ(kept(3, 24), two + left_out + three + stopped)
      << "resumed before the step that it went back from";
  EXPECT_EQ(kept(3, 32), two + left_out + three + back + stopped)
      << "it has just gone back";
  EXPECT_EQ(kept(2, 32), two + left_out + back + stopped);
  EXPECT_EQ(kept(2, 16), two + stopped) << "it will be left out again";
  // What says nothing of samples goes with its step.
  for (const std::string other :
       {R"({"event":"note","step":3})",
        R"({"event":"bad_step","step":3,"action":"skip","samples":[1]})",
        R"({"event":"x","step":3,"samples":[9223372036854775807,1]})"}) {
    folder.write("metrics.jsonl", two + other + "\n");
    MetricsFile(folder.path(), 3, 24);
    EXPECT_EQ(read_file(path), two + other + "\n");
    MetricsFile(folder.path(), 2, 24);
    EXPECT_EQ(read_file(path), two);
  }
  folder.write("metrics.jsonl", "{\"event\":\"bad_step\",\"step\":0}\n");
  expect_input_error([&] { require_metrics(folder.path()); },
                     {"metrics.jsonl:1"});
}

TEST(Metrics, AnEvaluationGoesToItsStepNotToAnEvent) {
  const ScratchFolder folder;
  const auto path = folder.write("metrics.jsonl", three_steps());
  BadStepReport bad;
  bad.step = 4;
  bad.count = 8;
  StepReport report;
  report.step = 3;
  report.loss = 1.0 / 3;
  report.evaluation = {.loss = 0.25};
  std::string expected = three_steps();
  expected = expected.substr(0, expected.find("{\"step\":3"));
  expected += to_json(report) + "\n" + to_json(bad) + "\n";
  {
    MetricsFile file(folder.path(), 3);
    file.write(bad);
    file.add({.loss = 0.25});
    EXPECT_EQ(read_file(path), expected);
  }
  // As found in the file.
  folder.write("metrics.jsonl", three_steps() + to_json(bad) + "\n");
  MetricsFile file(folder.path(), 3);
  file.add({.loss = 0.25});
  EXPECT_EQ(read_file(path), expected);
}

double elapsed_in(const std::string& text, std::int64_t step) {
  const ScratchFolder folder;
  folder.write("metrics.jsonl", text);
  return MetricsFile(folder.path(), step).elapsed_s();
}

TEST(Metrics, HaveTheTimeOfTheRunAndOfTheDay) {
  StepReport report;
  report.elapsed_s = 12.5;
  report.time = utc_now();
  const auto line = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(line["elapsed_s"], 12.5);
  const std::string time = line["time"];
  std::string form = time;  // 9 for a digit
  for (char& c : form) c = c >= '0' && c <= '9' ? '9' : c;
  EXPECT_EQ(form, "9999-99-99T99:99:99.999Z") << time;
  EXPECT_EQ(time.substr(0, 2), "20") << time;
  std::tm tm{};
  ASSERT_NE(::strptime(time.c_str(), "%Y-%m-%dT%H:%M:%S", &tm), nullptr);
  EXPECT_NEAR(static_cast<double>(::timegm(&tm)),
              static_cast<double>(std::time(nullptr)),
              5);
}

TEST(Metrics, TheTimeOfTheRunGoesOnFromTheStepResumed) {
  const std::string lines =
      "{\"step\":1,\"step_ms\":9,\"elapsed_s\":1.5}\n"
      "{\"step\":2,\"step_ms\":9,\"elapsed_s\":4}\n"
      "{\"step\":3,\"step_ms\":9,\"elapsed_s\":9}\n";
  EXPECT_EQ(elapsed_in(lines, 0), 0);
  EXPECT_EQ(elapsed_in(lines, 2), 4);
  EXPECT_EQ(elapsed_in(lines, 3), 9);
  // Older files have the time of each step alone, or not even that.
  const std::string older =
      "{\"step\":1,\"step_ms\":500}\n{\"step\":2,\"step_ms\":250}\n";
  EXPECT_EQ(elapsed_in(older, 2), 0.75);
  EXPECT_EQ(elapsed_in(older + "{\"step\":3,\"elapsed_s\":2}\n", 3), 2);
  EXPECT_EQ(elapsed_in("{\"step\":1,\"step_ms\":\"x\"}\n{\"step\":2}\n", 2), 0);
  for (const char* wrong : {"-1", "null", "\"1\"", "1e999", "[]", "true"}) {
    const std::string line =
        std::string("{\"step\":1,\"elapsed_s\":") + wrong + "}\n";
    expect_input_error([&] { elapsed_in(line, 1); }, {"metrics.jsonl:1"});
  }
}

TEST(Metrics, HaveTheMemoryOfAGpuWhereThereIsOne) {
  StepReport report;
  EXPECT_EQ(to_json(report).find("gpu"), std::string::npos);
  report.gpu = {.peak_mib = 12.5, .reserved_mib = 20};
  report.evaluation = {.loss = 0.25};
  const auto line = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(line["gpu_peak_mib"], 12.5);
  EXPECT_EQ(line["gpu_reserved_mib"], 20);
  EXPECT_EQ(line["val_loss"], 0.25);
  EXPECT_EQ(device_memory(c10::DeviceType::CPU), std::nullopt);
}

TEST(Metrics, CallTargetsByTheirNameAndKeepSharesOfRightClasses) {
  StepReport report;
  EXPECT_TRUE(nlohmann::json::parse(to_json(report)).contains("tokens_per_s"));
  report.step = 2;
  report.target = "image";
  report.targets = 512;
  report.evaluation = {.loss = 0.25, .top1 = 0.5, .top5 = 1};
  const auto line = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(line["images"], 512);
  EXPECT_TRUE(line.contains("images_per_s"));
  EXPECT_FALSE(line.contains("tokens"));
  const ScratchFolder folder;
  folder.write("metrics.jsonl", to_json(report) + "\n");
  const MetricsFile file(folder.path(), 2);
  ASSERT_TRUE(file.evaluation());
  EXPECT_EQ(file.evaluation()->top1, 0.5);
  EXPECT_EQ(file.evaluation()->top5, 1);
  EXPECT_EQ(describe_shares(*file.evaluation()),
            ", top-1 50.00 %, top-5 100.00 %");
  EXPECT_EQ(describe_shares({.loss = 0.25}), "");
}

TEST(Metrics, AnEvaluationIsAddedToWhatWasSaidOfItsStep) {
  const ScratchFolder folder;
  const auto path = folder.write("metrics.jsonl", three_steps());
  StepReport report;
  report.step = 4;
  {
    MetricsFile file(folder.path(), 3);
    EXPECT_EQ(file.last_step(), 3);
    EXPECT_FALSE(file.evaluation());
    file.write(report);
    EXPECT_EQ(file.last_step(), 4);
    file.add({.loss = 0.25});
    EXPECT_EQ(file.evaluation()->loss, 0.25);
    file.write(report);  // lines go on behind it
  }
  report.evaluation = {.loss = 0.25};
  std::string text = three_steps() + to_json(report) + "\n";
  report.evaluation.reset();
  EXPECT_EQ(read_file(path), text + to_json(report) + "\n");

  // Of a resumed run, whose file somebody may have touched.
  folder.write("metrics.jsonl", text.substr(0, text.size() - 1) + " \r\n\n");
  EXPECT_EQ(MetricsFile(folder.path(), 4).evaluation()->loss, 0.25);
  EXPECT_FALSE(MetricsFile(folder.path(), 3).evaluation());
  folder.write("metrics.jsonl", "{\"step\":2} \r\n");
  MetricsFile(folder.path(), 2).add({.loss = 0.5});
  EXPECT_EQ(read_file(path), "{\"step\":2,\"val_loss\":0.5}\n");
}

TEST(Metrics, LinesOfAnotherKindAreNamedAndNothingIsLost) {
  const ScratchFolder folder;
  for (const std::string& line :
       {std::string(R"({"step":"7"})"),
        std::string(R"({"step":1.5})"),
        std::string(R"({"step":null})"),
        std::string(R"({"step":1e300})"),
        std::string(R"({"step":99999999999999999999})"),
        std::string(R"({"step":-1})"),
        std::string(R"({"step":0})"),
        std::string(R"({"step":[1]})"),
        std::string(R"({"step":true})"),
        std::string(R"({"step":2,"step":2})"),
        std::string("{}"),
        std::string("[]"),
        std::string("7"),
        std::string("\"step\""),
        std::string("null"),
        std::string("step 7"),
        std::string("{\"step\":2"),
        std::string("\0", 1),
        std::string("{\"step\":2}\0", 11),
        std::string("\xff\xfe"),
        std::string(R"({"step":2,"host":")"
                    "\xe9\"}"),
        std::string(200'000, '['),
        R"({"step":)" + std::string(99'999, '7')}) {
    SCOPED_TRACE(line.substr(0, 40));
    const std::string text = three_steps() + line + "\n";
    const auto file = folder.write("metrics.jsonl", text);
    expect_input_error([&] { MetricsFile(folder.path(), 2); },
                       {file.string() + ":4"});
    expect_input_error([&] { require_metrics(folder.path()); },
                       {file.string() + ":4"});
    EXPECT_EQ(read_file(file), text);
  }
  std::filesystem::remove(folder.path() / "metrics.jsonl");
  EXPECT_NO_THROW(require_metrics(folder.path()));
  std::filesystem::create_directory(folder.path() / "metrics.jsonl");
  expect_input_error([&] { require_metrics(folder.path()); },
                     {"metrics.jsonl", "Is a directory"});
}

RC_GTEST_PROP(MetricsProperty, DamageIsDroppedOrNamed, ()) {
  const ScratchFolder folder;
  std::string text = three_steps();
  const int changes = *rc::gen::inRange(1, 5);
  for (int i = 0; i < changes; ++i) {
    const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
    text[at] = static_cast<char>(*rc::gen::inRange(0, 256));
  }
  text.resize(*rc::gen::inRange<std::size_t>(0, text.size()));
  const auto file = folder.write("metrics.jsonl", text);
  try {
    MetricsFile(folder.path(), 2);
  } catch (const InputError&) {
    RC_ASSERT(read_file(file) == text);
  }
}

}  // namespace
}  // namespace mumoe::train

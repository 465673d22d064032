// What is started and waited for, and what a run directory tells.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/file.h"
#include "run/options.h"
#include "study/scale/process.h"
#include "study/scale/run_facts.h"
#include "tests/study/error_of.h"
#include "tests/support/scratch.h"

namespace mumoe::study {
namespace {

using testing::error_of;
using testing::ScratchFolder;

using namespace std::chrono_literals;

class ScaleRunTest : public ::testing::Test {
 protected:
  Command shell(const std::string& script) const {
    return {.words = {"sh", "-c", script},
            .output = folder_.path() / "said",
            .limit = 60s,
            .patience = 300ms};
  }
  std::string said() const { return read_file(folder_.path() / "said"); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_.path() / name) << text;
  }

  ScratchFolder folder_;
};

const auto never = [] { return false; };

TEST_F(ScaleRunTest, AProcessRunsToItsEnd) {
  const End end = run_to_end(shell("echo out; echo err >&2; exit 7"), never);
  EXPECT_EQ(end.code, 7);
  EXPECT_FALSE(end.stopped || end.timed_out);
  EXPECT_EQ(said(), "out\nerr\n");
  EXPECT_EQ(run_to_end(shell("kill -KILL $$"), never).code, 128 + 9);
  auto command = shell("pwd; cat");  // which reads nothing
  command.folder = folder_.path();
  EXPECT_EQ(run_to_end(command, never).code, 0);
  EXPECT_TRUE(std::filesystem::equivalent(said().substr(0, said().find('\n')),
                                          folder_.path()));
  EXPECT_EQ(error_of([&] {
              run_to_end({.words = {"/no/such"}, .output = "x", .limit = 1s},
                         never);
            }),
            "/no/such: no such program");
}

TEST_F(ScaleRunTest, AProcessIsAskedToEnd) {
  auto command =
      shell("trap 'echo asked; exit 3' TERM; while :; do sleep 0.02; done");
  command.limit = 500ms;
  End end = run_to_end(command, never);
  EXPECT_TRUE(end.timed_out);
  EXPECT_EQ(end.code, 3);
  EXPECT_EQ(said(), "asked\n");

  command.limit = 60s;
  int asked = 0, told = 0;
  // Not before the trap is there.
  const auto stop = [&] { return ++asked > 20; };
  end = run_to_end(command, stop, [&] { ++told; });
  EXPECT_TRUE(end.stopped);
  EXPECT_EQ(told, 1);
  EXPECT_LT(end.seconds, 30);
}

TEST_F(ScaleRunTest, OneThatDoesNotEndIsKilledWithItsGroup) {
  auto command = shell(
      "trap '' TERM; (trap '' TERM; sleep 600) & echo $!; wait; sleep 600");
  command.limit = 300ms;
  const End end = run_to_end(command, never);
  EXPECT_TRUE(end.timed_out);
  EXPECT_EQ(end.code, 128 + 9);
  EXPECT_LT(end.seconds, 30);
  const auto state = "/proc/" + said().substr(0, said().find('\n')) + "/stat";
  for (int i = 0; i < 100 && std::filesystem::exists(state); ++i) {
    std::ifstream stat(state);
    std::string number, name, letter;
    stat >> number >> name >> letter;
    if (letter == "Z") return;  // gone but for whoever waits for it
    run_to_end(shell("sleep 0.05"), never);
  }
  EXPECT_FALSE(std::filesystem::exists(state));
}

TEST(ShellText, IsWhatAShellTakes) {
  EXPECT_EQ(shell_text({"a", "--b=c/d", "", "e f", "it's"}),
            "a --b=c/d '' 'e f' 'it'\\''s'");
}

TEST_F(ScaleRunTest, TheLastLineSaysWhy) {
  write("log", "one\nmumoe: the reason\nlast\n\n");
  EXPECT_EQ(last_line(folder_.path() / "log", {"mumoe: "}), "the reason");
  EXPECT_EQ(last_line(folder_.path() / "log", {"other: "}), "last");
  EXPECT_EQ(last_line(folder_.path() / "none", {}), "");
}

/// A line of metrics.jsonl.
std::string step(int number, double ms, const std::string& more = "") {
  return "{\"step\":" + std::to_string(number) +
         ",\"loss\":" + std::to_string(number) +
         ".5,\"step_ms\":" + std::to_string(ms) +
         ",\"tokens_per_s\":" + std::to_string(1000 / ms) +
         ",\"mfu\":0.5,\"dp_bytes\":100,\"tp_bytes\":" +
         std::to_string(10 * number) +
         ",\"all_bytes\":0,\"rss_mib\":" + std::to_string(400 - number) + more +
         "}\n";
}

TEST_F(ScaleRunTest, ARunDirectoryTellsOfItsRun) {
  run::Draft draft;
  for (const auto& [key, value] :
       std::initializer_list<std::pair<const char*, const char*>>{
           {"model.mlp", "dense"},
           {"model.depth", "1"},
           {"model.heads", "2"},
           {"model.width", "8"},
           {"model.context", "16"},
           {"model.bias", "no"},
           {"train.batch", "8"},
           {"train.precision", "fp32"},
           {"parallel.dp", "2"},
           {"train.recompute", "everything"},
           {"parallel.zero", "0"}}) {
    draft.set(key, value, "test", "test");
  }
  write("config.cfg", run::to_config_text(draft.resolved()));
  write("provenance.json", R"({"hosts": {"a": [0], "b": [1]}})");
  write("metrics.jsonl",
        step(1, 100) + step(2, 4) + R"({"event":"save_failed","step":2})" +
            "\n" + step(3, 2, R"(,"sol":0.75)") + step(4, 8, R"(,"sol":0.25)"));
  ScaleResult result;
  result.dp = 2;
  read_run(folder_.path(), 2, result);
  EXPECT_EQ(result.nodes, 2);
  EXPECT_EQ(result.steps, 2);
  EXPECT_EQ(result.step_ms_all, (std::vector<double>{2, 8}));
  EXPECT_EQ(result.step_ms, 5);
  EXPECT_EQ(result.target, "token");
  EXPECT_EQ(result.targets_per_s, 312.5);
  EXPECT_EQ(result.sol, 0.5);
  EXPECT_EQ(result.rss_mib, 397);
  EXPECT_EQ(result.tp_bytes, 35);
  EXPECT_EQ(result.loss, 4.5);
  EXPECT_EQ(result.micro_batch, 4);
  EXPECT_EQ(result.batch, 8);
  EXPECT_EQ(result.zero, 0);
  EXPECT_TRUE(result.recompute);
  EXPECT_EQ(result.precision, "fp32");
  // Embeddings 256 x 8 and 16 x 8; norms 3 x 8; attention 4 x 8 x 8; an MLP of
  // 8 x 32 twice.
  EXPECT_EQ(result.parameters, 256 * 8 + 16 * 8 + 3 * 8 + 4 * 64 + 2 * 256);
  EXPECT_GT(result.flops_per_target, 6.0 * (256 * 8 + 4 * 64 + 2 * 256));
  EXPECT_LT(result.flops_per_target, 2 * 6.0 * (256 * 8 + 4 * 64 + 2 * 256));

  read_run(folder_.path(), 1, result);
  EXPECT_EQ(result.step_ms, 4);
  EXPECT_EQ(error_of([&] { read_run(folder_.path(), 4, result); }),
            (folder_.path() / "metrics.jsonl").string() +
                ": has no step after the first 4");
}

TEST_F(ScaleRunTest, WaitsOfATraceAreWhatIsExposed) {
  const auto span = [](int row, double ts, double dur) {
    return R"({"ph":"X","name":"x","tid":)" + std::to_string(row) +
           ",\"ts\":" + std::to_string(ts) + ",\"dur\":" + std::to_string(dur) +
           "}";
  };
  const auto name = [](int row, const char* text) {
    return R"({"ph":"M","name":"thread_name","tid":)" + std::to_string(row) +
           R"(,"args":{"name":")" + text + "\"}}";
  };
  // Steps of 1 ms; in the second two waits that overlap by half, in the third
  // one that goes on past its end, in the last any.
  write("trace",
        "[" + name(0, "steps") + "," + name(2, "waits") + "," + name(3, "dp") +
            "," + span(0, 0, 1000) + "," + span(0, 1000, 1000) + "," +
            span(0, 2000, 1000) + "," + span(0, 3000, 1000) + "," +
            span(2, 100, 900) + "," + span(2, 1300, 200) + "," +
            span(2, 1200, 200) + "," + span(2, 2900, 500) + "," +
            span(3, 1000, 1000) + "]");
  const auto trace = folder_.path() / "trace";
  EXPECT_NEAR(*exposed_ms(trace, 1), (0.3 + 0.1) / 2, 1e-12);
  EXPECT_NEAR(*exposed_ms(trace, 0), 0.3, 1e-12);
  EXPECT_FALSE(exposed_ms(trace, 3).has_value());
  EXPECT_FALSE(exposed_ms(folder_.path() / "none", 0).has_value());
  write("bad", "[{\"ph\":\"X\"}]");
  EXPECT_NE(error_of([&] {
              exposed_ms(folder_.path() / "bad", 0);
            }).find("expected a trace of mumoe train"),
            std::string::npos);
}

TEST(Median, IsOfWhatIsFinite) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, NAN, 1}), 2.5);
  EXPECT_TRUE(std::isnan(median({})));
}

}  // namespace
}  // namespace mumoe::study

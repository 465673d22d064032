#include "dist/watch/trace.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "dist/null_communicator.h"
#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "dist/watch/link_model.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

json read(const std::filesystem::path& file) {
  std::ifstream in(file);
  return json::parse(in);
}

/// Complete events of the rows with this name, in order.
std::vector<json> events(const json& trace, const std::string& row) {
  std::set<int> rows;
  for (const json& event : trace) {
    if (event["ph"] == "M" && event["name"] == "thread_name" &&
        event["args"]["name"] == row) {
      rows.insert(event["tid"].get<int>());
    }
  }
  std::vector<json> found;
  for (const json& event : trace) {
    if (event["ph"] == "X" && rows.contains(event["tid"].get<int>())) {
      found.push_back(event);
    }
  }
  return found;
}

std::vector<std::string> names(const std::vector<json>& events) {
  std::vector<std::string> found;
  for (const json& event : events) found.push_back(event["name"]);
  return found;
}

/// One rank of a mesh of 4, on a link where every operation takes 40 ms.
class TraceTest : public ::testing::Test {
 protected:
  static constexpr auto kOperation = 40ms;

  TraceTest() { mesh.observe(link); }
  void observe(TraceLimits limits = {}) {
    trace.emplace(folder.path() / "trace.json", *self, limits);
    mesh.observe(*trace);
  }
  /// One step of phases, with one all_reduce in backward.
  void step() {
    mesh.set_phase("load");
    mesh.set_phase("forward");
    mesh.set_phase("backward");
    mesh.dp().all_reduce_async(x).wait();
    mesh.set_phase("update");
  }
  json written() const { return read(trace->file()); }

  testing::ScratchFolder folder;
  std::unique_ptr<Communicator> self = make_self_communicator(at::kCPU);
  std::unique_ptr<Communicator> world =
      make_null_communicator({.dp = 2, .tp = 2});
  LinkModel link{{.latency_s = 0.04, .bytes_per_s = 1e15}};
  std::optional<Trace> trace;
  ProcessMesh mesh{*world, 2, 2};
  at::Tensor x = at::zeros({6}, at::kFloat);
};

double milliseconds(const json& event, const char* what = "dur") {
  return event[what].get<double>() / 1e3;
}

/// Fails while it is waited for, and then cannot say whether it has ended.
struct Failing final : Work::State {
  void wait() override {
    failed = true;
    throw CommunicationError("the device is lost");
  }
  bool done() override {
    if (failed) throw InternalError("asked after its failure");
    return false;
  }
  bool failed = false;
};

TEST_F(TraceTest, AnOperationThatFailsKeepsItsError) {
  observe();
  const Work work = trace->started(mesh.dp(),
                                   {.op = Op::all_reduce, .sequence = 1},
                                   Work(std::make_shared<Failing>()));
  EXPECT_THROW(work.wait(), CommunicationError);
  EXPECT_TRUE(trace->wants_device_times());
  trace->finish();
  EXPECT_FALSE(trace->wants_device_times());
  const auto operations = events(written(), "dp");
  EXPECT_EQ(names(operations), std::vector<std::string>{"all_reduce"});
}

TEST_F(TraceTest, PhasesFollowOneAnotherInSteps) {
  observe();
  mesh.set_phase("load");
  mesh.set_phase("forward");
  mesh.set_phase("backward");
  mesh.set_phase("load");  // the second micro-batch
  mesh.set_phase("forward");
  mesh.set_phase("backward");
  mesh.set_phase("update");
  mesh.set_phase("evaluation");
  mesh.set_phase("load");
  trace->finish();
  const auto phases = events(written(), "phases");
  EXPECT_EQ(names(phases),
            (std::vector<std::string>{"start",
                                      "load",
                                      "forward",
                                      "backward",
                                      "load",
                                      "forward",
                                      "backward",
                                      "update",
                                      "evaluation",
                                      "load"}));
  EXPECT_EQ(phases[0]["ts"], 0);
  for (std::size_t i = 1; i < phases.size(); ++i) {
    EXPECT_EQ(phases[i]["args"]["step"], i == 9 ? 2 : 1);
    EXPECT_EQ(phases[i]["pid"], 0);
    EXPECT_NEAR(
        phases[i]["ts"],
        phases[i - 1]["ts"].get<double>() + phases[i - 1]["dur"].get<double>(),
        0.01);
  }
  EXPECT_EQ(names(events(written(), "steps")),
            (std::vector<std::string>{"step 1", "step 2"}));
}

TEST_F(TraceTest, OperationsLastUntilTheyEndWhoeverLooks) {
  observe();
  mesh.set_phase("load");
  mesh.set_phase("backward");
  const Work work = mesh.dp().all_reduce_async(x);
  // Nobody waits or looks until long after the end.
  std::this_thread::sleep_for(4 * kOperation);
  work.wait();
  trace->finish();
  const auto found = events(written(), "dp");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0]["name"], "all_reduce");
  EXPECT_GE(milliseconds(found[0]), 40);
  EXPECT_LT(milliseconds(found[0]), 120);
  const json expected = {{"axis", "dp"},
                         {"sequence", 1},
                         {"bytes", 24},
                         {"elements", 6},
                         {"dtype", "Float"},
                         {"step", 1},
                         {"phase", "backward"},
                         {"gradients", true}};
  EXPECT_EQ(found[0]["args"], expected);
  EXPECT_TRUE(events(written(), "waits").empty());
  const GradientOverlap overlap = trace->gradient_overlap();
  EXPECT_EQ(overlap.steps, 1);
  EXPECT_EQ(overlap.wait_s, 0);
  EXPECT_EQ(overlap.exposed(), 0);
}

TEST_F(TraceTest, WhatIsWaitedForIsExposed) {
  observe();
  mesh.set_phase("load");
  mesh.set_phase("forward");
  mesh.tp().all_reduce(x);  // no gradients
  mesh.set_phase("backward");
  const auto begin = Work::Clock::now();
  const Work first = mesh.dp().all_reduce_async(x);
  const Work second = mesh.dp_tp().all_reduce_async(x);
  std::this_thread::sleep_for(kOperation / 2);  // computes
  const std::chrono::duration<double> computed = Work::Clock::now() - begin;
  first.wait();
  second.wait();
  trace->finish();
  // Two operations of 40 ms on one link, of which the first part is hidden.
  const GradientOverlap overlap = trace->gradient_overlap();
  EXPECT_NEAR(overlap.busy_s, 0.08, 0.02);
  EXPECT_NEAR(overlap.wait_s, 0.08 - computed.count(), 0.02);
  EXPECT_GT(overlap.exposed(), 0);
  EXPECT_LT(overlap.exposed(), 1);
  const auto waits = events(written(), "waits");
  EXPECT_EQ(waits.size(), 3u);
  const auto steps = events(written(), "steps");
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_NEAR(steps[0]["args"]["gradients_ms"], 1e3 * overlap.busy_s, 0.01);
  EXPECT_NEAR(steps[0]["args"]["waited_ms"], 1e3 * overlap.wait_s, 0.01);
  EXPECT_NEAR(steps[0]["args"]["exposed"], overlap.exposed(), 1e-3);
}

TEST_F(TraceTest, OperationsThatOverlapStandInRowsOfTheirOwn) {
  observe();
  mesh.set_phase("load");
  mesh.set_phase("backward");
  const Work first = mesh.dp().all_reduce_async(x);
  const Work second = mesh.dp().all_reduce_async(x);
  first.wait();
  second.wait();
  mesh.dp().all_reduce(x);
  mesh.tp().all_reduce(x);
  trace->finish();
  const auto found = events(written(), "dp");
  ASSERT_EQ(found.size(), 3u);
  EXPECT_NE(found[0]["tid"], found[1]["tid"]);
  EXPECT_EQ(found[0]["tid"], found[2]["tid"]);
  EXPECT_EQ(events(written(), "tp").size(), 1u);
}

TEST_F(TraceTest, EndsAfterItsStepsAndIsWrittenThen) {
  observe({.steps = 2});
  step();
  step();
  EXPECT_EQ(std::filesystem::file_size(trace->file()), 0);
  mesh.set_phase("load");  // the third
  const json before = written();
  step();
  trace->finish();
  EXPECT_EQ(written(), before);
  EXPECT_EQ(events(before, "steps").size(), 2u);
  EXPECT_EQ(events(before, "dp").size(), 2u);
  EXPECT_EQ(trace->gradient_overlap().steps, 2);
}

TEST_F(TraceTest, HoldsSoManyOperations) {
  observe({.operations = 1});
  step();
  step();
  trace->finish();
  EXPECT_EQ(events(written(), "dp").size(), 1u);
  EXPECT_NE(written().dump().find("1 operations left out"), std::string::npos);
}

TEST_F(TraceTest, IsWrittenByTheEndOfARunThatFails) {
  observe();
  mesh.set_phase("load");
  mesh.set_phase("backward");
  mesh.set_deadline(10ms);
  EXPECT_THROW(mesh.dp().all_reduce(x), CommunicationError);
  trace.reset();
  const json found = read(folder.path() / "trace.json");
  EXPECT_EQ(events(found, "dp").size(), 1u);
  ASSERT_EQ(events(found, "waits").size(), 1u);
  EXPECT_GE(milliseconds(events(found, "waits")[0]), 10);
}

TEST_F(TraceTest, AFileThatCannotBeWrittenIsRefusedAtOnce) {
  testing::expect_input_error(
      [&] { Trace(folder.path() / "none" / "trace.json", *self); },
      {"trace = ", "none/trace.json", "cannot write"});
}

// The run loses nothing by it, and gets to know at its end.
TEST_F(TraceTest, ADiskThatFillsUpEndsNoRun) {
  const auto self = make_self_communicator(at::kCPU);
  Trace trace("/dev/full", *self, {.steps = 1});
  for (int step = 0; step < 3; ++step) trace.phase("load");
  testing::expect_input_error([&] { trace.finish(); },
                              {"trace = /dev/full", "cannot write"});
}

TEST(Trace, EachRankHasAFile) {
  const testing::ScratchFolder folder;
  ThreadWorld::run(3, [&](Communicator& world) {
    world.set_deadline(60s);
    std::optional<Trace> trace(std::in_place,
                               folder.path() / "trace.json",
                               world);
    ProcessMesh mesh(world, 3, 1);
    mesh.observe(*trace);
    mesh.set_phase("load");
    mesh.set_phase("backward");
    const at::Tensor x = at::ones({4}, at::kFloat);
    const Work work = mesh.dp().all_reduce_async(x);
    mesh.control().barrier();
    work.wait();
    EXPECT_EQ(x[0].item<float>(), 3);
    trace->finish();
    const auto file =
        folder.path() / fmt::format("trace.json.rank{}", world.rank());
    EXPECT_EQ(trace->file(), file);
    const json found = read(file);
    ASSERT_EQ(events(found, "dp").size(), 1u);
    EXPECT_EQ(events(found, "dp")[0]["pid"], world.rank());
    EXPECT_EQ(events(found, "world").size(), 1u);
  });
}

}  // namespace
}  // namespace mumoe::dist

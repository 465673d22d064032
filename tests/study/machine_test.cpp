// Machines that have names, and those that users add.
#include "study/predict/machine.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::study {
namespace {

using testing::expect_input_error;

TEST(Machines, AreThoseOfTheirDataSheets) {
  const Machines machines;
  EXPECT_EQ(machines.names(),
            (std::vector<std::string>{"a100-80g", "h100-80g", "h200"}));
  const Machine& a100 = machines.named("a100-80g");
  EXPECT_EQ(a100.peak_flops, 312e12);
  EXPECT_EQ(a100.node_bandwidth, 200e9);
  const Machine& h200 = machines.named("h200");
  EXPECT_EQ(h200.memory_bandwidth, 4.8e12);
  EXPECT_EQ(h200.peak_flops, machines.named("h100-80g").peak_flops);
  EXPECT_EQ(h200.name, "h200");
}

TEST(Machines, AreAddedByFiles) {
  const testing::ScratchFolder folder;
  const auto file = folder.write("mine.json", R"({"machines": {
    "mine": {"like": "a100-80g", "gpus_per_node": 4,
             "node_bandwidth": {"value": 25e9, "source": "one adapter"}},
    "a100-80g": {"node_share": 0.5}}})");
  Machines machines;
  machines.add(file);
  EXPECT_EQ(machines.named("mine").gpus_per_node, 4);
  EXPECT_EQ(machines.named("mine").node_bandwidth, 25e9);
  EXPECT_EQ(machines.named("mine").peak_flops, 312e12);
  EXPECT_EQ(machines.named("a100-80g").node_share, 0.5);
  EXPECT_EQ(machines.named("a100-80g").link_share, 0.783);
}

TEST(Machines, MayBeLikeOthersOfTheirFileInAnyOrder) {
  const testing::ScratchFolder folder;
  const auto file = folder.write("mine.json", R"({"machines": {
    "a": {"like": "b", "node_share": 0.5},
    "b": {"like": "a100-80g", "gpus_per_node": 4},
    "a100-80g": {"like": "a100-80g", "link_share": 0.25}}})");
  Machines machines;
  machines.add(file);
  EXPECT_EQ(machines.named("a").gpus_per_node, 4);
  EXPECT_EQ(machines.named("a").node_share, 0.5);
  EXPECT_EQ(machines.named("a").link_share, 0.25) << "that of the same file";
}

/// A file of one machine `mine`, whose constants are `text`.
void expect_refused(const std::string& text,
                    std::initializer_list<std::string> parts) {
  const testing::ScratchFolder folder;
  const auto file =
      folder.write("mine.json", R"({"machines": {"mine": )" + text + "}}");
  Machines machines;
  expect_input_error([&] { machines.add(file); }, parts);
}

TEST(Machines, ThatAreWrongAreNamed) {
  expect_refused(R"({"peak_flops": 1e14})",
                 {"mine.json: machine mine: memory_bandwidth is missing",
                  "expected a number above 0",
                  "a100-80g, h100-80g, h200"});
  expect_refused(R"({"like": "a100-80g", "peak_flops": "fast"})",
                 {"mine.json: machine mine.peak_flops is \"fast\"",
                  "expected a number above 0"});
  expect_refused(R"({"like": "a100-80g", "link_share": 1.5})",
                 {"machine mine.link_share is 1.5", "at most 1"});
  expect_refused(R"({"like": "a100-80g", "gpus_per_node": {"value": 2.5}})",
                 {"mine.gpus_per_node is {\"value\":2.5}", "a whole number"});
  expect_refused(R"({"like": "a100-80g", "node_bandwith": 1e9})",
                 {"mine.node_bandwith: unknown key", "node_bandwidth"});
  expect_refused(R"({"like": "b100"})",
                 {"mine.like is \"b100\"", "expected one of a100-80g"});
  expect_refused("7", {"machine mine: expected an object"});
  expect_refused(
      R"({"like": "h200", "peak_flops": {"value": 1, "sorce": "x"}})",
      {"mine.peak_flops is {", "\"source\": TEXT"});
  expect_refused(R"({"like": "h200", "gpus_per_node": 1025})",
                 {"mine.gpus_per_node is 1025", "from 1 to 1024"});
  expect_refused(R"({"like": "other"}, "other": {"like": "mine"})",
                 {"machine mine: expected one that is not like itself"});
  expect_refused(
      R"({"like": "h200"}, "a\nb": {"like": "h200"})",
      {R"(machine a\nb: expected a name without control characters)"});
  expect_refused(R"({"like": "h200"}}, "machine": {"other": {})",
                 {"mine.json: expected {\"machines\""});
  expect_input_error([] { Machines().named("b100"); },
                     {"machine b100: unknown", "a100-80g, h100-80g, h200"});
}

TEST(Machines, ComeFromFilesOfTheirForm) {
  const testing::ScratchFolder folder;
  Machines machines;
  const auto file = folder.path() / "mine.json";
  expect_input_error([&] { machines.add(file); }, {"mine.json"});
  folder.write("mine.json", R"({"mine": {}})");
  expect_input_error([&] { machines.add(file); },
                     {"mine.json", R"({"machines": {NAME)"});
  folder.write("mine.json", R"({"machines": {)");
  expect_input_error([&] { machines.add(file); }, {"mine.json"});
}

}  // namespace
}  // namespace mumoe::study

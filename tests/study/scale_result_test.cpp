// Lines of results.jsonl, and the folder that they grow in.
#include "study/scale/scale_result.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "base/file.h"
#include "study/scale/results_file.h"
#include "tests/study/error_of.h"
#include "tests/support/scratch.h"

namespace mumoe::study {
namespace {

using testing::error_of;
using testing::ScratchFolder;

ScaleResult measured() {
  ScaleResult r;
  r.study = "a \"study\"";
  r.cell = "cp/1x2-sequence/weak";
  r.model = "cp";
  r.scaling = "weak";
  r.dp = 1;
  r.tp = r.ranks = r.nodes = 2;
  r.plan = "sequence";
  r.zero = 0;
  r.micro_batch = 4;
  r.batch = 8;
  r.recompute = true;
  r.precision = "fp32";
  r.repeat = 2;
  r.steps = 3;
  r.step_ms = 0.1;
  r.step_ms_all = {0.1, 1.0 / 3, 2e300};
  r.target = "image";
  r.targets_per_s = 1e-7;
  r.mfu = 0.25;
  r.sol = 0.75;
  r.rss_mib = 383.421875;
  r.dp_bytes = 0;
  r.tp_bytes = 1e15 + 1;
  r.all_bytes = 3;
  r.exposed_ms = 0.0;
  r.loss = 5.488386154174805;
  r.parameters = 1'558'129'600'000;
  r.flops_per_target = 38052;
  r.predicted = Predicted{1, 0.5, 2, 380};
  r.command = "launch/mpirun -n 2 'a b'";
  r.version = "0.1.0";
  r.finished = "2026-11-28T04:19:45.103Z";
  return r;
}

void write(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

TEST(ScaleResult, ComesBackAsItWas) {
  const ScaleResult there = measured();
  EXPECT_EQ(from_json(to_json(there), "line"), there);
  EXPECT_EQ(to_json(there).find('\n'), std::string::npos);

  ScaleResult failed;
  failed.cell = "cp/1x1/weak";
  failed.failed = "out of memory\twhere";
  failed.code = 2;
  EXPECT_EQ(from_json(to_json(failed), "line"), failed);
}

TEST(ScaleResult, WhatIsNotFiniteIsNull) {
  ScaleResult r = measured();
  r.loss = std::numeric_limits<double>::infinity();
  EXPECT_NE(to_json(r).find("\"loss\":null"), std::string::npos);
  EXPECT_TRUE(std::isnan(from_json(to_json(r), "line").loss));
}

TEST(ScaleResult, NamesTheMemberThatIsWrong) {
  const auto with = [](const std::string& from, const std::string& to) {
    std::string line = to_json(measured());
    line.replace(line.find(from), from.size(), to);
    return error_of([&] { from_json(line, "r.jsonl:7"); });
  };
  EXPECT_EQ(with("\"tp\":2,", ""),
            "r.jsonl:7: tp = nothing: expected a whole number of at least 0");
  EXPECT_EQ(with("\"tp\":2", "\"tp\":2.5"),
            "r.jsonl:7: tp = 2.5: expected a whole number of at least 0");
  EXPECT_EQ(
      with("\"tp\":2", "\"tp\":3000000000"),
      "r.jsonl:7: tp = 3000000000: expected a whole number of at least 0");
  EXPECT_EQ(with("\"mfu\":0.25", "\"mfu\":\"high\""),
            "r.jsonl:7: mfu = \"high\": expected a number or null");
  EXPECT_EQ(
      with("\"low_ms\":0.5,", ""),
      "r.jsonl:7: predicted: low_ms = nothing: expected a number or null");
  EXPECT_EQ(with("[0.1,", "[true,"),
            "r.jsonl:7: step_ms_all = [true,0.3333333333333333,2e+300]: "
            "expected a list of numbers");
  EXPECT_EQ(error_of([] { from_json("[1]", "r.jsonl:1"); }),
            "r.jsonl:1: expected an object, a run of a scaling study");
  // Of an older version: what need not be there.
  EXPECT_EQ(with("\"sol\":0.75,", ""), "");
  // Of a newer version.
  EXPECT_EQ(with("\"tp\":2", "\"tp\":2,\"pp\":4"), "");
}

TEST(ReadResults, LeavesOutALastLineThatIsCutShort) {
  const ScratchFolder folder;
  const auto file = folder.path() / "results.jsonl";
  EXPECT_TRUE(read_results(file).results.empty());

  const std::string line = to_json(measured()) + "\n";
  for (const std::size_t cut :
       {std::size_t{1}, line.size() / 2, line.size() - 1}) {
    write(file, line + line + line.substr(0, cut));
    const Results read = read_results(file);
    EXPECT_EQ(read.results.size(), 2U);
    EXPECT_EQ(read.whole, 2 * line.size());
    EXPECT_EQ(read.note,
              file.string() + ":3: the last line is cut short (" +
                  std::to_string(cut) + " bytes) and left out");
  }
  write(file, line + "{\"study\"\n" + line);
  EXPECT_NE(error_of([&] { read_results(file); }).find(file.string() + ":2"),
            std::string::npos);
}

TEST(StudyFolder, GoesOnBehindWholeLines) {
  const ScratchFolder scratch;
  const auto out = scratch.path() / "new" / "out";
  {
    StudyFolder folder(out, "{}");
    EXPECT_TRUE(folder.notes().empty());
    folder.append(measured());
    // Another process would be refused; flock knows open files, not processes.
    EXPECT_NE(
        error_of([&] { StudyFolder(out, "{}"); }).find("measures into it"),
        std::string::npos);
  }
  const std::string line = to_json(measured()) + "\n";
  EXPECT_EQ(read_file(out / "results.jsonl"), line);
  write(out / "results.jsonl", line + "{\"study\":\"a");
  {
    StudyFolder folder(out, "{ }");
    ASSERT_EQ(folder.notes().size(), 2U);
    EXPECT_NE(folder.notes()[1].find("cut short (11 bytes)"),
              std::string::npos);
    EXPECT_EQ(folder.results(), std::vector{measured()});
    folder.append(measured());
  }
  EXPECT_EQ(read_file(out / "results.jsonl"), line + line);
  EXPECT_EQ(read_file(out / "study.json"), "{ }");
}

TEST(StudyFolder, RefusesAFolderOfOthers) {
  const ScratchFolder scratch;
  write(scratch.path() / "thesis.tex", "");
  EXPECT_EQ(error_of([&] { StudyFolder(scratch.path(), "{}"); }),
            scratch.path().string() +
                ": holds other files; expected an empty folder, or that of a "
                "study");
  EXPECT_FALSE(std::filesystem::exists(scratch.path() / ".scale.lock"));
  EXPECT_NE(error_of([&] {
              StudyFolder(scratch.path() / "thesis.tex", "{}");
            }).find("cannot be made"),
            std::string::npos);
}

}  // namespace
}  // namespace mumoe::study

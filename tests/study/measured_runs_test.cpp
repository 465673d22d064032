// Measured runs as others publish them.
#include "study/predict/measured_runs.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace mumoe::study {
namespace {

using mumoe::testing::expect_input_error;

const std::string kHead =
    "# GPUs,global batch,micro batch,hidden size,attention heads,# layers,"
    "sequence length,tensor parallelism,data parallelism,pipeline "
    "parallelism,iteration time (ms)\n";

TEST(MeasuredRuns, AreReadByTheNamesOfTheirColumns) {
  const auto runs =
      parse_measured_runs(kHead + "8,128,8,1024,16,12,1024,2,4,1,278.18\n\n",
                          "runs.csv");
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].gpus, 8);
  EXPECT_EQ(runs[0].global_batch, 128);
  EXPECT_EQ(runs[0].micro_batch, 8);
  EXPECT_EQ(runs[0].hidden, 1024);
  EXPECT_EQ(runs[0].heads, 16);
  EXPECT_EQ(runs[0].layers, 12);
  EXPECT_EQ(runs[0].sequence, 1024);
  EXPECT_EQ(runs[0].tp, 2);
  EXPECT_EQ(runs[0].dp, 4);
  EXPECT_EQ(runs[0].milliseconds, 278.18);
  EXPECT_EQ(runs[0].line, 2);
  EXPECT_EQ(runs[0].micro_steps(), 4);
}

TEST(MeasuredRuns, MayHaveOtherColumnsAndAnotherOrder) {
  const auto runs = parse_measured_runs(
      "Parameters (billion),iteration time (ms),data parallelism,tensor "
      "parallelism,sequence length,# layers,attention heads,hidden size,micro "
      "batch,global batch, \"# GPUs\"\r\n3.6,5017.8,8,8,2048,30,32,3072,16,512,"
      "64\r\n",
      "runs.csv");
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].gpus, 64);
  EXPECT_EQ(runs[0].milliseconds, 5017.8);
}

TEST(MeasuredRuns, MayHaveCommasBetweenQuotationMarks) {
  const auto runs =
      parse_measured_runs("GPU,\"note, if any\"," + kHead +
                              "\"NVIDIA A100, 80 GB\",\"a \"\"b\"\", "
                              "c\",\"8\",128,8,1024,16,12,1024,"
                              "2,4,1,\"278.18\"\n",
                          "runs.csv");
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].gpus, 8);
  EXPECT_EQ(runs[0].milliseconds, 278.18);
}

TEST(MeasuredRuns, MayHaveWholeNumbersWithAPoint) {
  const auto runs =
      parse_measured_runs(kHead + "8.0,128.,8.00,1024,16,12,1024,2,4,1.0,278\n",
                          "runs.csv");
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].gpus, 8);
  EXPECT_EQ(runs[0].global_batch, 128);
  EXPECT_EQ(runs[0].micro_batch, 8);
}

TEST(MeasuredRuns, LeaveOutALastRowWithoutItsEnd) {
  const std::string good = "8,128,8,1024,16,12,1024,2,4,1,278.18\n";
  std::vector<std::string> notes;
  EXPECT_EQ(parse_measured_runs(kHead + good, "runs.csv", &notes).size(), 1u);
  EXPECT_TRUE(notes.empty());
  const std::string text = kHead + good + good.substr(0, good.size() - 1);
  EXPECT_EQ(parse_measured_runs(text, "runs.csv", &notes).size(), 1u);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0].find("runs.csv: line 3: its end is missing"), 0u);
  // Blanks are no row.
  EXPECT_EQ(parse_measured_runs(kHead + good + " ", "runs.csv").size(), 1u);
  // Half a row is half a file.
  expect_input_error(
      [&] { parse_measured_runs(kHead + good + "8,128,8", "r.csv", &notes); },
      {"r.csv: line 3: its end is missing"});
}

TEST(MeasuredRuns, ThatAreWrongAreNamed) {
  const auto refused = [](const std::string& text,
                          std::initializer_list<std::string> parts) {
    expect_input_error([&] { parse_measured_runs(text, "runs.csv"); }, parts);
  };
  const std::string good = "8,128,8,1024,16,12,1024,2,4,1,278.18\n";
  refused("", {"runs.csv: no rows"});
  refused(kHead, {"runs.csv: no rows"});
  refused("# GPUs,global batch\n8,128\n",
          {"runs.csv: line 1: expected a column \"micro batch\""});
  refused("hidden size," + kHead + "7," + good,
          {"runs.csv: line 1: expected one column \"hidden size\"", "several"});
  for (const std::string half : {"8.5", ".0", "8.0.0", "8e0"}) {
    refused(kHead + half + ",128,8,1024,16,12,1024,2,4,1,278.18\n",
            {"line 2: # GPUs is \"" + half + "\"", "a whole number"});
  }
  refused(kHead + good + "8,128,8,1024\n",
          {"runs.csv: line 3: 4 columns", "expected 11"});
  refused(kHead + "8,128,8,wide,16,12,1024,2,4,1,278.18\n",
          {"runs.csv: line 2: hidden size is \"wide\"", "expected"});
  refused(kHead + "8,128,8,1024,16,12,1024,2,4,1,0\n",
          {"line 2: iteration time (ms) is \"0\"", "expected"});
  refused(kHead + "8,128,8,1024,16,12,1024,2,4,2,278.18\n",
          {"line 2: pipeline parallelism is \"2\"", "expected"});
  refused(kHead + "8,128,8,1024,16,12,1024,2,2,1,278.18\n",
          {"line 2: tensor x data parallelism is 2 x 2", "8"});
  refused(kHead + "8,100,8,1024,16,12,1024,2,4,1,278.18\n",
          {"line 2: global batch is 100", "4 x 8"});
  refused(kHead + "8,128,8,1024,12,12,1024,8,1,1,278.18\n",
          {"line 2: attention heads is 12", "1024", "8"});
  // 278.18 or 2781.8, nobody knows.
  refused(kHead + good + "8,128,8,1024,16,12,1024,2,4,1,278",
          {"runs.csv: line 3: its end is missing"});
}

}  // namespace
}  // namespace mumoe::study

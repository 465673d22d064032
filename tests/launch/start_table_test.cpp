#include "launch/start_table.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "launch/program.h"
#include "tests/support/errors.h"

namespace mumoe::launch {
namespace {

/// dp × tp ranks, `per_host` on each host, with four CPUs a rank.
std::vector<RankRow> rows_of(int dp, int tp, int per_host) {
  std::vector<RankRow> rows;
  for (int rank = 0; rank < dp * tp; ++rank) {
    const int local = rank % per_host;
    rows.push_back({.place = {.host = fmt::format("node{}", rank / per_host),
                              .dp = rank / tp,
                              .tp = rank % tp},
                    .device = fmt::format("cuda:{}", local),
                    .cpus = fmt::format("{}-{}", 4 * local, 4 * local + 3),
                    .threads = 4});
  }
  return rows;
}

TEST(StartTable, FewRanksHaveALineEach) {
  EXPECT_EQ(draw_mesh(rows_of(2, 2, 2)),
            "mesh     4 ranks = dp 2 x tp 2, on 2 hosts\n"
            "         rank  host   device  dp  tp  cores  threads\n"
            "         0     node0  cuda:0  0   0   0-3    4\n"
            "         1     node0  cuda:1  0   1   4-7    4\n"
            "         2     node1  cuda:0  1   0   0-3    4\n"
            "         3     node1  cuda:1  1   1   4-7    4");
}

TEST(StartTable, OneRank) {
  EXPECT_EQ(draw_mesh(rows_of(1, 1, 1)),
            "mesh     1 rank = dp 1 x tp 1, on 1 host\n"
            "         rank  host   device  dp  tp  cores  threads\n"
            "         0     node0  cuda:0  0   0   0-3    4");
}

TEST(StartTable, ARankAloneHasALine) {
  EXPECT_EQ(draw_alone(rows_of(1, 1, 1)[0], "dp 0/64 tp 0/8 world 0/512"),
            "mesh     dp 0/64 tp 0/8 world 0/512 alone\n"
            "         rank  host   device  dp  tp  cores  threads\n"
            "         0     node0  cuda:0  0   0   0-3    4");
}

TEST(StartTable, ManyRanksHaveALineAHost) {
  const std::string text = draw_mesh(rows_of(16, 2, 8));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1 + 4) << text;
  EXPECT_NE(text.find("node1  8-15   cuda:0-7  4-7    0-1  0-3 4-7 "),
            std::string::npos)
      << text;
}

TEST(StartTable, ManyHostsAreCounted) {
  const std::string text = draw_mesh(rows_of(64, 8, 8));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1 + 16) << text;
  EXPECT_NE(text.find("512 ranks = dp 64 x tp 8, on 64 hosts"),
            std::string::npos);
  EXPECT_TRUE(text.ends_with("and 49 more hosts")) << text;
}

TEST(WholeJob, LoneRanksOfSrunAreRefused) {
  ::setenv("SLURM_STEP_NUM_TASKS", "2", 1);
  testing::expect_input_error([] { require_whole_job(1); },
                              {"srun started 2 processes", "--mpi=pmix"});
  EXPECT_NO_THROW(require_whole_job(2));
  ::setenv("SLURM_STEP_NUM_TASKS", "1", 1);
  EXPECT_NO_THROW(require_whole_job(1));
  ::unsetenv("SLURM_STEP_NUM_TASKS");
  EXPECT_NO_THROW(require_whole_job(1));
}

}  // namespace
}  // namespace mumoe::launch

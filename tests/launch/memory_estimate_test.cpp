#include "launch/memory_estimate.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/scratch.h"

namespace mumoe::launch {
namespace {

using testing::ScratchFolder;

constexpr double kGib = 1 << 30;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// `ranks` on each host.
dist::HostMap hosts_of(const std::vector<int>& ranks) {
  std::vector<dist::RankPlace> places;
  for (std::size_t host = 0; host < ranks.size(); ++host) {
    for (int rank = 0; rank < ranks[host]; ++rank) {
      places.push_back({.host = "node" + std::to_string(host)});
    }
  }
  return dist::HostMap(std::move(places));
}

TEST(AvailableMemory, IsThatOfTheMachine) {
  const ScratchFolder folder;
  EXPECT_LT(available_memory(folder.path()), 0) << "nothing is known";
  folder.write(
      "proc/meminfo",
      "MemTotal:  9000 kB\nMemFree:   10 kB\nMemAvailable:  4000 kB\n");
  EXPECT_EQ(available_memory(folder.path()), 4000 * 1024.0);
  EXPECT_GT(available_memory(), 1e6) << "here";
}

TEST(AvailableMemory, IsWhatTheControlGroupsLeave) {
  const ScratchFolder folder;
  folder.write("proc/meminfo", "MemAvailable:  4000 kB\n");
  folder.write("proc/self/cgroup", "1:name=systemd:/a\n0::/job/step/task\n");
  const auto available = [&] { return available_memory(folder.path()); };
  const std::string group = "sys/fs/cgroup/job/step";
  folder.write(group + "/task/memory.max", "max\n");
  folder.write(group + "/task/memory.current", "1000\n");
  EXPECT_EQ(available(), 4000 * 1024.0);
  // Of a group above.
  folder.write(group + "/memory.max", "1000000\n");
  folder.write(group + "/memory.current", "700000\n");
  EXPECT_EQ(available(), 300000);
  folder.write(group + "/memory.stat", "anon 5\ninactive_file 200000\n");
  EXPECT_EQ(available(), 500000);
  folder.write(group + "/memory.current", "2000000\n");
  EXPECT_EQ(available(), 0);
  // A container sees its own at the top.
  folder.write("proc/self/cgroup", "0::/\n");
  folder.write("sys/fs/cgroup/memory.max", "5000\n");
  folder.write("sys/fs/cgroup/memory.current", "2000\n");
  EXPECT_EQ(available(), 3000);
  // Version 1.
  folder.write("proc/self/cgroup", "5:cpu:/x\n4:memory:/job\n");
  folder.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9000\n");
  folder.write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1000\n");
  EXPECT_EQ(available(), 8000);
}

TEST(MemoryWarning, AddsUpTheRanksOfAHost) {
  const auto hosts = hosts_of({2, 1});
  const MemoryNeed half{3 * kGib, 5 * kGib};
  EXPECT_EQ(warn_of_memory({half, {1 * kGib, 5 * kGib}, half}, hosts, false),
            "");
  const auto line = warn_of_memory({half, half, half}, hosts, false);
  EXPECT_TRUE(line.starts_with(
      "warning  memory: 2 ranks on node0 will need about 6.0 GiB, and 5.0 GiB "
      "is available; expected a smaller train.micro_batch"))
      << line;
  EXPECT_EQ(line.find('\n'), line.npos);
  // The host that lacks most is named.
  EXPECT_TRUE(
      contains(warn_of_memory({half, half, {9 * kGib, 5 * kGib}}, hosts, false),
               "1 rank on node1 will need about 9.0 GiB"));
  // GPUs have a memory each.
  EXPECT_EQ(warn_of_memory({half, half, half}, hosts, true), "");
  EXPECT_TRUE(
      contains(warn_of_memory({half, {6 * kGib, 5 * kGib}, half}, hosts, true),
               "rank 1 on node0 will need about 6.0 GiB, and 5.0 GiB is "
               "available on its GPU"));
  // Where nothing is known, nothing is said.
  EXPECT_EQ(warn_of_memory({{9 * kGib, -1}, half, half}, hosts, false), "");
}

TEST(MemoryEstimate, GrowsWithTheMicroBatchAndFallsWithTp) {
  const auto samples = model::family("gpt2").workspace({});
  const auto total = [&](std::int64_t micro_batch, int tp) {
    model::Cost cost;
    cost.bytes = {.weights = 1000, .gradients = 2000, .optimizer = 4000};
    cost.pass.kept_bytes = 500;
    const auto estimate =
        estimate_memory(cost, samples, micro_batch, tp, at::kFloat, true, 77);
    EXPECT_EQ(estimate.model(), 7500 + estimate.workspace);
    EXPECT_TRUE(contains(describe_memory(estimate, true), "program 77 bytes"));
    EXPECT_FALSE(contains(describe_memory(estimate, false), "program"));
    return estimate.model();
  };
  EXPECT_GT(total(4, 1), 1.2 * total(1, 1));
  EXPECT_LT(total(4, 2), total(4, 1));
}

TEST(MemoryEstimate, OfTheWorkspaceIsThatOfTheDevice) {
  const model::ModelConfig model;
  const auto samples = model::family("gpt2").workspace(model);
  const auto workspace = [&](bool on_cpu) {
    return estimate_memory({}, samples, 16, 1, at::kBFloat16, on_cpu, 0)
        .workspace;
  };
  const auto width = static_cast<double>(model.width);
  const double wide = 16.0 * static_cast<double>(model.context) *
                      std::max<double>(model.mlp.hidden_dim, 3 * width);
  const double embedding = static_cast<double>(model.vocab) * width;
  // In fp32, 2^24 logits three times; in bf16, 2^28 once.
  EXPECT_NEAR(workspace(true),
              4 * (7 * wide + 4 * embedding + 3 * (1 << 24)) + (32 << 20),
              1);
  EXPECT_NEAR(workspace(false), 2 * (7 * wide + (1 << 28)) + (32 << 20), 1);
}

}  // namespace
}  // namespace mumoe::launch

#include "launch/memory_room.h"

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
  // Its second limit is of memory and swap: 4000 of it is swapped out.
  const std::string both = "sys/fs/cgroup/memory/job/memory.memsw.";
  folder.write(both + "limit_in_bytes", "9000\n");
  folder.write(both + "usage_in_bytes", "5000\n");
  EXPECT_EQ(available(), 4000);
}

TEST(WholeMemory, IsThatOfTheMachineOrOfItsGroups) {
  const ScratchFolder folder;
  const auto whole = [&] { return whole_memory(at::kCPU, folder.path()); };
  EXPECT_LT(whole(), 0) << "nothing is known";
  // What is used, and by whom, makes no difference.
  folder.write("proc/meminfo",
               "MemTotal:  9000 kB\nMemAvailable:  1 kB\nSwapTotal: 1000 kB\n");
  EXPECT_EQ(whole(), 10'000 * 1024.0);
  folder.write("proc/self/cgroup", "0::/job\n");
  folder.write("sys/fs/cgroup/job/memory.max", "max\n");
  EXPECT_EQ(whole(), 10'000 * 1024.0);
  folder.write("sys/fs/cgroup/memory.max", "5000\n");
  folder.write("sys/fs/cgroup/memory.current", "4999\n");
  folder.write("sys/fs/cgroup/memory.swap.max", "0\n");
  EXPECT_EQ(whole(), 5000);
}

TEST(WholeMemory, SwapIsThatOfTheGroups) {
  const ScratchFolder folder;
  const auto whole = [&] { return whole_memory(at::kCPU, folder.path()); };
  folder.write("proc/meminfo", "MemTotal:  9 kB\nSwapTotal:  2 kB\n");
  // Version 2: apart from memory, each the least of all groups.
  folder.write("proc/self/cgroup", "0::/job/step\n");
  const std::string job = "sys/fs/cgroup/job/", step = job + "step/";
  folder.write(job + "memory.max", "5000\n");
  folder.write(step + "memory.max", "max\n");
  EXPECT_EQ(whole(), 5000 + 2048) << "without a limit it is the machine's";
  folder.write(job + "memory.swap.max", "max\n");
  EXPECT_EQ(whole(), 5000 + 2048);
  folder.write(step + "memory.swap.max", "1000\n");
  folder.write(step + "memory.swap.current", "999\n");
  EXPECT_EQ(whole(), 6000) << "what is used makes no difference";
  folder.write(job + "memory.max", "100000\n");
  EXPECT_EQ(whole(), 9 * 1024 + 1000) << "no more than there is";
  // Version 1: of both together.
  folder.write("proc/self/cgroup", "4:memory:/old\n");
  const std::string old = "sys/fs/cgroup/memory/old/memory.";
  folder.write(old + "limit_in_bytes", "5000\n");
  EXPECT_EQ(whole(), 5000 + 2048);
  folder.write(old + "memsw.limit_in_bytes", "6000\n");
  EXPECT_EQ(whole(), 6000);
  folder.write(old + "memsw.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(whole(), 5000 + 2048);
}

TEST(LackingMemory, AddsUpTheRanksOfAHost) {
  const auto hosts = hosts_of({2, 1});
  const MemoryNeed half{3 * kGib, 5 * kGib};
  EXPECT_EQ(lacking_memory({half, {1 * kGib, 5 * kGib}, half}, hosts, false),
            "");
  const auto line = lacking_memory({half, half, half}, hosts, false);
  EXPECT_EQ(line,
            "2 ranks on node0 will need about 6.0 GiB, and 5.0 GiB is "
            "available");
  // The host that lacks most is named.
  EXPECT_TRUE(
      contains(lacking_memory({half, half, {9 * kGib, 5 * kGib}}, hosts, false),
               "1 rank on node1 will need about 9.0 GiB"));
  // GPUs have a memory each.
  EXPECT_EQ(lacking_memory({half, half, half}, hosts, true), "");
  EXPECT_TRUE(
      contains(lacking_memory({half, {6 * kGib, 5 * kGib}, half}, hosts, true),
               "rank 1 on node0 will need about 6.0 GiB, and 5.0 GiB is "
               "available on its GPU"));
  // Where nothing is known, nothing is said.
  EXPECT_EQ(lacking_memory({{9 * kGib, -1}, half, half}, hosts, false), "");
}

}  // namespace
}  // namespace mumoe::launch

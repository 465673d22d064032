#include "launch/pinning.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "tests/support/errors.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::launch {
namespace {

/// Two NUMA nodes of `cores` cores with two logical CPUs each, numbered as
/// Linux does: all first siblings, then all second ones.
std::vector<Cpu> two_nodes(int cores) {
  std::vector<Cpu> cpus;
  for (int core = 0; core < 2 * cores; ++core) {
    for (const int id : {core, core + 2 * cores}) {
      const int node = core / cores;
      cpus.push_back({.id = id, .node = node, .package = node, .core = core});
    }
  }
  return cpus;
}

std::string ids(const std::vector<Cpu>& cpus) {
  std::vector<int> numbers;
  for (const Cpu& cpu : cpus) numbers.push_back(cpu.id);
  return to_text(numbers);
}

/// Puts a variable of the environment back at the end.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  ~Variable() {
    old_.empty() ? ::unsetenv(name_) : ::setenv(name_, old_.c_str(), 1);
  }

 private:
  const char* name_;
  std::string old_;
};

TEST(Pinning, TextOfCpus) {
  EXPECT_EQ(to_text({}), "");
  EXPECT_EQ(to_text({3}), "3");
  EXPECT_EQ(to_text({8, 0, 1, 2, 10}), "0-2,8,10");
}

TEST(Pinning, SharesAreWholeCoresOfOneNode) {
  const auto cpus = two_nodes(8);  // 32 CPUs, 16 cores
  EXPECT_EQ(count_cores(cpus), 16);
  EXPECT_EQ(ids(share_of(cpus, 0, 2)), "0-7,16-23");
  EXPECT_EQ(ids(share_of(cpus, 1, 2)), "8-15,24-31");
  EXPECT_EQ(ids(share_of(cpus, 1, 4)), "4-7,20-23");
  EXPECT_EQ(count_cores(share_of(cpus, 1, 4)), 4);
  EXPECT_EQ(ids(share_of(cpus, 15, 16)), "15,31");
  EXPECT_EQ(ids(share_of(cpus, 0, 1)), "0-31");
}

TEST(Pinning, MoreRanksThanCoresTakeLogicalCpus) {
  const auto cpus = two_nodes(2);  // 8 CPUs, 4 cores
  EXPECT_EQ(ids(share_of(cpus, 0, 8)), "0");
  EXPECT_EQ(ids(share_of(cpus, 1, 8)), "4");
  EXPECT_EQ(ids(share_of(cpus, 7, 8)), "7");
  EXPECT_TRUE(share_of(cpus, 0, 9).empty());
}

TEST(Pinning, SharesAreEqualAndDisjoint) {
  const auto cpus = two_nodes(5);
  for (int parts = 1; parts <= 20; ++parts) {
    std::vector<int> taken;
    const auto size = share_of(cpus, 0, parts).size();
    for (int part = 0; part < parts; ++part) {
      const auto share = share_of(cpus, part, parts);
      EXPECT_EQ(share.size(), size) << part << " of " << parts;
      for (const Cpu& cpu : share) taken.push_back(cpu.id);
    }
    std::sort(taken.begin(), taken.end());
    EXPECT_EQ(std::unique(taken.begin(), taken.end()), taken.end());
    // Whole cores: less than one a part is left over.
    EXPECT_GT(taken.size() + (parts <= 10 ? 2 * parts : parts), cpus.size());
  }
}

TEST(Pinning, AllowedCpusAreThoseOfTheKernel) {
  EXPECT_EQ(ids(allowed_cpus()), cpus_of_this_thread());
  EXPECT_GE(count_cores(allowed_cpus()), 1);
}

// The ranks are threads of one process, which may all run on the same CPUs.
TEST(Pinning, RanksDivideTheCpusOfTheirHost) {
  const Variable threads("OMP_NUM_THREADS", nullptr);
  const Variable pin("MUMOE_PIN", "yes");
  const auto allowed = allowed_cpus();
  const int ranks = std::min<int>(2, static_cast<int>(allowed.size()));
  dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
    world.set_deadline(std::chrono::seconds(30));
    pin_to_cores(world);
    const auto share = share_of(allowed, world.rank(), ranks);
    EXPECT_EQ(cpus_of_this_thread(), ids(share));
    EXPECT_EQ(at::get_num_threads(), count_cores(share));
    std::string child;
    std::thread([&child] { child = cpus_of_this_thread(); }).join();
    EXPECT_EQ(child, ids(share));
  });
}

TEST(Pinning, MoreRanksThanCpusAreNotBound) {
  const Variable threads("OMP_NUM_THREADS", nullptr);
  const Variable pin("MUMOE_PIN", "yes");
  const std::string before = cpus_of_this_thread();
  const int ranks = static_cast<int>(allowed_cpus().size()) + 1;
  dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
    world.set_deadline(std::chrono::seconds(30));
    pin_to_cores(world);
    EXPECT_EQ(cpus_of_this_thread(), before);
    EXPECT_EQ(at::get_num_threads(), 1);
  });
}

// Bound only where memory is cut into nodes; threads are divided anyway.
TEST(Pinning, OneNodeNeedsNoBinding) {
  const Variable threads("OMP_NUM_THREADS", nullptr);
  const Variable pin("MUMOE_PIN", nullptr);
  const auto allowed = allowed_cpus();
  const bool nodes = allowed.front().node != allowed.back().node;
  const int ranks = std::min<int>(2, static_cast<int>(allowed.size()));
  dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
    world.set_deadline(std::chrono::seconds(30));
    pin_to_cores(world);
    const auto share = share_of(allowed, world.rank(), ranks);
    EXPECT_EQ(cpus_of_this_thread(), ids(nodes ? share : allowed));
    EXPECT_EQ(at::get_num_threads(), count_cores(share));
  });
}

TEST(Pinning, CanBeTurnedOff) {
  const Variable pin("MUMOE_PIN", "no");
  const std::string before = cpus_of_this_thread();
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    world.set_deadline(std::chrono::seconds(30));
    pin_to_cores(world);
    EXPECT_EQ(cpus_of_this_thread(), before);
  });
}

TEST(Pinning, RefusesOtherWords) {
  const Variable pin("MUMOE_PIN", "maybe");
  dist::ThreadWorld::run(1, [](dist::Communicator& world) {
    testing::expect_input_error([&] { pin_to_cores(world); },
                                {"MUMOE_PIN=maybe", "auto, yes or no"});
  });
}

}  // namespace
}  // namespace mumoe::launch

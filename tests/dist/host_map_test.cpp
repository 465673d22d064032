#include "dist/host_map.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dist/gather_text.h"
#include "dist/self_communicator.h"
#include "tests/support/errors.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;

/// dp × tp ranks, `per_host` on each of the hosts h0, h1, ...
HostMap on_hosts(int dp, int tp, int per_host) {
  std::vector<RankPlace> places;
  for (int rank = 0; rank < dp * tp; ++rank) {
    places.push_back({.host = fmt::format("h{}", rank / per_host),
                      .dp = rank / tp,
                      .tp = rank % tp});
  }
  return HostMap(std::move(places));
}

TEST(GatherText, KeepsOrderAndLengths) {
  const auto text_of = [](int rank) { return std::string(rank * 7, 'a'); };
  ThreadWorld::run(4, [&](Communicator& world) {
    world.set_deadline(30s);
    const auto texts = gather_text(world, text_of(world.rank()));
    ASSERT_EQ(texts.size(), 4u);
    for (int rank = 0; rank < 4; ++rank) EXPECT_EQ(texts[rank], text_of(rank));
  });
}

TEST(GatherText, OneRankAndEmptyTexts) {
  const auto self = make_self_communicator(at::kCPU);
  EXPECT_EQ(gather_text(*self, "one"), std::vector<std::string>{"one"});
  ThreadWorld::run(2, [&](Communicator& world) {
    world.set_deadline(30s);
    EXPECT_EQ(gather_text(world, ""), (std::vector<std::string>{"", ""}));
  });
}

TEST(HostMap, GathersThePlacesOfAllRanks) {
  ThreadWorld::run(6, [](Communicator& world) {
    world.set_deadline(30s);
    const ProcessMesh mesh(world, 3, 2);
    const HostMap map(mesh);
    ASSERT_EQ(map.places().size(), 6u);
    for (int rank = 0; rank < 6; ++rank) {
      EXPECT_EQ(map.places()[rank].dp, rank / 2);
      EXPECT_EQ(map.places()[rank].tp, rank % 2);
      EXPECT_EQ(map.places()[rank].host, this_host().name);
    }
    EXPECT_NO_THROW(map.require_tp_within_hosts());
  });
}

/// The map of 2 × 2 ranks, of which the last is on the second host.
HostMap gathered(const Host& first, const Host& second) {
  std::vector<RankPlace> places;
  ThreadWorld::run(4, [&](Communicator& world) {
    world.set_deadline(30s);
    const ProcessMesh mesh(world, 2, 2);
    const HostMap map(mesh, world.rank() < 3 ? first : second);
    if (world.rank() == 0) places = map.places();
  });
  return HostMap(std::move(places));
}

TEST(HostMap, HostsDifferByNameOrByMachine) {
  const auto expect_two =
      [](const Host& first, const Host& second, const std::string& names) {
        testing::expect_input_error(
            [&] { gathered(first, second).require_tp_within_hosts(); },
            {"tp = 2", "ranks 2, 3 (dp 1)", "hosts " + names + ":"});
      };
  expect_two({"a", "boot"}, {"b", "boot"}, "a, b");
  expect_two({"localhost", "8a6e1f3c-77"},
             {"localhost", "8a6e1f3d-77"},
             "localhost (8a6e1f3c), localhost (8a6e1f3d)");
  const HostMap one = gathered({"a", "boot"}, {"a", "boot"});
  EXPECT_EQ(one.hosts(), std::vector<std::string>{"a"});
}

TEST(HostMap, ThisHostHasAName) {
  EXPECT_FALSE(this_host().name.empty());
  EXPECT_FALSE(this_host().machine.empty());
}

TEST(HostMap, ListsHostsAndTheirRanks) {
  const HostMap map = on_hosts(4, 1, 3);
  EXPECT_EQ(map.hosts(), (std::vector<std::string>{"h0", "h1"}));
  EXPECT_EQ(map.ranks_on("h0"), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(map.ranks_on("h1"), std::vector<int>{3});
}

TEST(HostMap, TensorParallelGroupsStayOnOneHost) {
  EXPECT_NO_THROW(on_hosts(2, 2, 2).require_tp_within_hosts());
  EXPECT_NO_THROW(on_hosts(4, 1, 1).require_tp_within_hosts());
  EXPECT_NO_THROW(on_hosts(2, 4, 8).require_tp_within_hosts());
  testing::expect_input_error(
      [] { on_hosts(3, 2, 3).require_tp_within_hosts(); },
      {"tp = 2",
       "ranks 2, 3 (dp 1)",
       "hosts h0, h1:",
       "start a multiple of tp ranks on each"});
}

}  // namespace
}  // namespace mumoe::dist

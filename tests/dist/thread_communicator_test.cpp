#include "tests/support/thread_communicator.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>

#include "dist/self_communicator.h"
#include "tests/dist/communicator_suite.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;

class Suite : public ::testing::TestWithParam<suite::NamedCheck> {};

TEST_P(Suite, OnSelf) {
  const auto self = make_self_communicator(at::kCPU);
  GetParam().check(*self);
}

TEST_P(Suite, OnThreads) {
  for (int ranks = 1; ranks <= 4; ++ranks) {
    SCOPED_TRACE(fmt::format("{} threads", ranks));
    ThreadWorld::run(ranks, [](Communicator& world) {
      world.set_deadline(60s);
      GetParam().check(world);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Communicator,
                         Suite,
                         ::testing::ValuesIn(suite::kChecks),
                         [](const auto& info) { return info.param.name; });

template <class E = CommunicationError>
std::string text_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another error: " << error.what();
    return {};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

void expect_parts(const std::string& text,
                  std::initializer_list<std::string_view> parts) {
  for (const auto part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << text << " lacks " << part;
  }
}

TEST(ThreadWorld, RanksAreNumberedAndAllRun) {
  std::atomic<int> sum = 0;
  ThreadWorld::run(4, [&](Communicator& world) {
    EXPECT_EQ(world.size(), 4);
    EXPECT_EQ(world.axis(), "world");
    sum += 1 << (4 * world.rank());
  });
  EXPECT_EQ(sum, 0x1111);
}

TEST(ThreadWorld, SumsAreInRankOrderWhoeverComesLast) {
  // 1e8 + 1 - 1e8 in fp32 depends on the order: 0 in rank order.
  for (int late = 0; late < 3; ++late) {
    ThreadWorld::run(3, [&](Communicator& world) {
      if (world.rank() == late) std::this_thread::sleep_for(10ms);
      const float mine[] = {1e8f, 1.0f, -1e8f};
      const auto tensor = at::full({5}, mine[world.rank()], at::kFloat);
      world.all_reduce(tensor);
      EXPECT_EQ(tensor[4].item<float>(), 0.0f);
    });
  }
}

TEST(ThreadWorld, PostingDoesNotBlock) {
  ThreadWorld::run(2, [](Communicator& world) {
    const auto a = at::ones({10}), b = at::ones({20});
    if (world.rank() == 1) std::this_thread::sleep_for(50ms);
    const Work first = world.all_reduce_async(a);
    const Work second = world.all_reduce_async(b);
    if (world.rank() == 0) {
      EXPECT_FALSE(first.done());
    }
    second.wait();
    EXPECT_TRUE(first.done());
    EXPECT_EQ(a[0].item<float>(), 2.0f);
  });
}

TEST(ThreadWorld, AFailingRankEndsTheOthersAndItsErrorIsThrown) {
  std::vector<std::string> seen(3);
  const auto text = text_of<InputError>([&] {
    ThreadWorld::run(3, [&](Communicator& world) {
      if (world.rank() == 1) throw InputError("disk is on fire");
      world.set_phase("forward");
      const auto group = world.rank();
      seen[group] = text_of([&] { world.all_reduce(at::ones({2})); });
    });
  });
  EXPECT_EQ(text, "disk is on fire");
  for (int rank : {0, 2}) {
    expect_parts(seen[rank],
                 {fmt::format("rank {} of 3 (axis world)", rank),
                  "all_reduce #1",
                  "phase forward",
                  "aborted because rank 1 failed: disk is on fire"});
  }
}

TEST(ThreadWorld, SecondaryAbortsDoNotHideTheCause) {
  const auto text = text_of<InternalError>([] {
    ThreadWorld::run(4, [](Communicator& world) {
      const auto pair = world.split(world.rank() / 2, 0, "pair");
      if (world.rank() == 3) throw InternalError("the cause");
      pair->barrier();
      world.barrier();
    });
  });
  EXPECT_EQ(text, "the cause");
}

TEST(ThreadWorld, ErrorsThatAreNoExceptionsOfOursAreThrownToo) {
  EXPECT_THROW(ThreadWorld::run(2,
                                [](Communicator& world) {
                                  if (world.rank() == 1) throw 7;
                                  world.barrier();
                                }),
               int);
}

TEST(ThreadWorld, DeadlineNamesTheMissingRanks) {
  ThreadWorld world(3);
  const auto rank0 = world.communicator(0);
  const auto rank2 = world.communicator(2);
  rank0->set_deadline(30ms);
  rank0->set_phase("backward");
  const Work posted = rank2->all_reduce_async(at::ones({1}));
  expect_parts(text_of([&] { rank0->all_reduce(at::ones({1})); }),
               {"rank 0 of 3",
                "all_reduce #1",
                "phase backward",
                "not finished after 0.03 s",
                "waits for rank(s) 1"});
  EXPECT_FALSE(posted.done());
}

TEST(ThreadWorld, ARankThatHasReturnedIsNotWaitedFor) {
  expect_parts(
      text_of([] {
        ThreadWorld::run(2, [](Communicator& world) {
          if (world.rank() == 0) world.barrier();
        });
      }),
      {"rank 0 of 2", "barrier", "rank 1 has returned without calling it"});
}

// Both ranks must fail, each with both calls in its text.
void expect_mismatch(const std::function<void(Communicator&)>& rank0,
                     const std::function<void(Communicator&)>& rank1,
                     std::initializer_list<std::string_view> parts) {
  std::vector<std::string> seen(2);
  ThreadWorld::run(2, [&](Communicator& world) {
    world.set_deadline(20s);
    seen[world.rank()] =
        text_of([&] { (world.rank() == 0 ? rank0 : rank1)(world); });
  });
  for (const auto& text : seen) expect_parts(text, parts);
}

TEST(ThreadWorld, RanksThatDifferFailOnAllRanks) {
  const auto reduce =
      [](std::int64_t count, at::ScalarType type, ReduceOp op = ReduceOp::sum) {
        return [=](Communicator& world) {
          world.all_reduce(at::zeros({count}, type), op);
        };
      };
  expect_mismatch(reduce(3, at::kFloat),
                  reduce(4, at::kFloat),
                  {"rank 0 called all_reduce(sum, 3 elements, Float)",
                   "rank 1 called all_reduce(sum, 4 elements, Float)"});
  expect_mismatch(reduce(3, at::kFloat),
                  reduce(3, at::kLong),
                  {"3 elements, Float", "3 elements, Long"});
  expect_mismatch(reduce(3, at::kFloat),
                  reduce(3, at::kFloat, ReduceOp::max),
                  {"all_reduce(sum", "all_reduce(max"});
  expect_mismatch(reduce(3, at::kFloat),
                  [](Communicator& world) { world.barrier(); },
                  {"rank 0 called all_reduce", "rank 1 called barrier"});
  const auto broadcast = [](int root) {
    return [=](Communicator& world) { world.broadcast(at::ones({1}), root); };
  };
  expect_mismatch(broadcast(0), broadcast(1), {"root 0", "root 1"});
}

TEST(ThreadWorld, ARankThatSkipsAnOperationIsFoundByItsNext) {
  // An empty tensor is counted and never posted: ranks must agree on it.
  expect_mismatch([](Communicator& world) { world.all_reduce(at::ones({5})); },
                  [](Communicator& world) {
                    world.all_reduce(at::ones({0}));
                    world.set_deadline(100ms);
                    world.all_reduce(at::ones({6}));
                  },
                  {"all_reduce"});
}

TEST(ThreadWorld, GroupsOutliveTheWorld) {
  std::vector<std::unique_ptr<Communicator>> ranks;
  {
    ThreadWorld world(2);
    ranks.push_back(world.communicator(0));
    ranks.push_back(world.communicator(1));
  }
  const auto a = at::ones({1}), b = at::ones({1});
  const Work first = ranks[0]->all_reduce_async(a);
  const Work second = ranks[1]->all_reduce_async(b);
  first.wait();
  second.wait();
  EXPECT_EQ(a.item<float>() + b.item<float>(), 4.0f);
}

TEST(ThreadWorld, StressOfManySmallOperations) {
  ThreadWorld::run(4, [](Communicator& world) {
    const auto pair = world.split(world.rank() % 2, world.rank(), "pair");
    std::vector<Work> works;
    const auto kept = at::zeros({300}, at::kLong);
    for (int i = 0; i < 300; ++i) {
      auto& group = i % 3 ? world : *pair;
      works.push_back(group.all_reduce_async(kept.narrow(0, i, 1).fill_(i)));
      if (i % 7 == 0) works.back().wait();
    }
    for (const auto& work : works) work.wait();
    for (int i = 0; i < 300; ++i) {
      ASSERT_EQ(kept[i].item<std::int64_t>(), i * (i % 3 ? 4 : 2));
    }
  });
}

}  // namespace
}  // namespace mumoe::dist

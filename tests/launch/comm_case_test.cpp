#include "launch/comm_case.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "dist/null_communicator.h"
#include "tests/support/errors.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::launch {
namespace {

using namespace std::chrono_literals;
using dist::Communicator;
using dist::Op;
using dist::ReduceOp;

constexpr Op kOps[] = {Op::all_reduce,
                       Op::all_gather,
                       Op::reduce_scatter,
                       Op::all_to_all,
                       Op::broadcast};

TEST(CommCase, RightResultsCountAsRight) {
  for (const int ranks : {2, 3, 4}) {
    dist::ThreadWorld::run(ranks, [](Communicator& world) {
      world.set_deadline(60s);
      for (const Op op : kOps) {
        for (const auto dtype :
             {at::kFloat, at::kBFloat16, at::kDouble, at::kLong}) {
          for (const auto reduce :
               {ReduceOp::sum, ReduceOp::min, ReduceOp::max}) {
            CommCase one(world, {op, dtype, 4096, reduce}, at::kCPU);
            one.fill();
            one.run();
            EXPECT_EQ(one.count_wrong(), 0) << to_string(op) << " " << dtype;
          }
        }
      }
    });
  }
}

// On a world where nothing moves, what the others should give is missing.
TEST(CommCase, WrongResultsAreCounted) {
  const auto world = dist::make_null_communicator({.dp = 4, .rank = 1});
  for (const Op op : kOps) {
    CommCase one(*world, {op, at::kFloat, 4096}, at::kCPU);
    one.fill();
    one.run();
    EXPECT_GT(one.count_wrong(), 0) << to_string(op);
  }
}

TEST(CommCase, SumsThatCannotBeCheckedAreRefused) {
  const auto world = dist::make_null_communicator({.dp = 65});
  testing::expect_input_error(
      [&] {
        CommCase(*world, {Op::all_reduce, at::kBFloat16, 64}, at::kCPU);
      },
      {"--type bf16: a sum over axis world, 65 ranks"});
  EXPECT_NO_THROW(CommCase(*world,
                           {Op::all_reduce, at::kBFloat16, 64, ReduceOp::max},
                           at::kCPU));
  EXPECT_NO_THROW(
      CommCase(*world, {Op::all_gather, at::kBFloat16, 64}, at::kCPU));
}

TEST(CommCase, BeforeARunAllIsWrong) {
  const auto world = dist::make_null_communicator({.dp = 4, .rank = 1});
  CommCase one(*world, {Op::all_gather, at::kFloat, 4096}, at::kCPU);
  one.fill();
  EXPECT_EQ(one.count_wrong(), 1024);
}

TEST(CommCase, SizesAndCountsAreThoseOfNcclTests) {
  const auto world = dist::make_null_communicator({.dp = 3});
  const auto check = [&](Op op, std::int64_t bytes, std::int64_t count) {
    const CommCase one(*world, {op, at::kFloat, 1003}, at::kCPU);
    EXPECT_EQ(one.bytes(), bytes) << to_string(op);
    EXPECT_EQ(one.count(), count) << to_string(op);
  };
  check(Op::all_reduce, 1000, 250);
  check(Op::broadcast, 1000, 250);
  check(Op::all_gather, 996, 83);
  check(Op::reduce_scatter, 996, 83);
  check(Op::all_to_all, 996, 83);
  // No size is too small for one element a rank.
  const CommCase tiny(*world, {Op::all_gather, at::kDouble, 1}, at::kCPU);
  EXPECT_EQ(tiny.bytes(), 24);
}

TEST(CommCase, SecondsAreOfOneRun) {
  const auto world = dist::make_null_communicator({.dp = 2});
  CommCase one(*world, {Op::all_to_all, at::kFloat, 4096}, at::kCPU);
  one.fill();
  EXPECT_GT(one.seconds(3), 0);
  EXPECT_EQ(world->traffic(Op::all_to_all).calls, 3);
}

}  // namespace
}  // namespace mumoe::launch

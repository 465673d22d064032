#include "dist/null_communicator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "dist/process_mesh.h"
#include "tests/support/errors.h"

namespace mumoe::dist {
namespace {

TEST(NullCommunicator, AMeshStandsOnItAsOnAnyWorld) {
  const auto world = make_null_communicator({.dp = 64, .tp = 8, .rank = 43});
  const ProcessMesh mesh(*world, 0, 8);
  EXPECT_EQ(mesh.describe(), "dp 5/64 tp 3/8 world 43/512");
  EXPECT_EQ(mesh.dp_tp().size(), 512);
  EXPECT_EQ(mesh.dp_tp().rank(), 43);
  EXPECT_EQ(mesh.dp_tp().axis(), "all");
  const auto again = mesh.dp().split(0, mesh.dp().rank(), "dp");
  EXPECT_EQ(again->size(), 64);
}

TEST(NullCommunicator, ResultsAreShapedAndFinite) {
  const auto world = make_null_communicator({.dp = 2, .tp = 2, .rank = 1});
  const at::Tensor x = at::arange(8, at::kFloat).view({4, 2});
  const at::Tensor before = x.clone();
  world->all_reduce(x, ReduceOp::avg);
  world->broadcast(x, 3);
  world->barrier();
  EXPECT_TRUE(at::equal(x, before));

  const at::Tensor shard = at::full({1, 2}, 7, at::kFloat);
  const at::Tensor whole = at::full({4, 2}, NAN, at::kFloat);
  world->all_gather(shard, whole);
  EXPECT_TRUE(at::equal(whole, at::full({4, 2}, 7, at::kFloat)));
  // A part of the whole: what the others would send stays as it was.
  world->all_gather(x.narrow(0, 1, 1), x);
  EXPECT_TRUE(at::equal(x, before));

  world->reduce_scatter(x, shard);
  EXPECT_TRUE(at::equal(shard, before.narrow(0, 1, 1)));
  world->reduce_scatter(x, x.narrow(0, 1, 1));
  EXPECT_TRUE(at::equal(x, before));
  world->all_to_all(x, whole);
  EXPECT_TRUE(at::equal(whole, x));
}

TEST(NullCommunicator, WeightsThatNeedGradientsCanBeGathered) {
  const auto world = make_null_communicator({.dp = 4});
  const at::Tensor weight = at::ones({8}, at::kFloat).requires_grad_(true);
  const at::Tensor shard = at::zeros({2}, at::kFloat);
  world->all_gather(shard, weight);
  EXPECT_EQ(weight.sum().item<float>(), 0);
}

TEST(NullCommunicator, CountsAsIfTheOthersWereThere) {
  const auto world = make_null_communicator({.dp = 3, .tp = 5});
  const ProcessMesh mesh(*world, 3, 5);
  mesh.dp().all_reduce(at::zeros({10}, at::kFloat));
  mesh.tp().all_gather(at::zeros({4}, at::kBFloat16),
                       at::zeros({20}, at::kBFloat16));
  EXPECT_EQ(mesh.dp().traffic(Op::all_reduce).bytes, 40);
  EXPECT_EQ(mesh.tp().traffic(Op::all_gather).bytes, 40);
}

TEST(NullCommunicator, AMeshOfOneIsAnIdentity) {
  const auto world = make_null_communicator({});
  const ProcessMesh mesh(*world, 1, 1);
  mesh.dp().all_reduce(at::zeros({10}, at::kFloat));
  EXPECT_EQ(mesh.dp().total_bytes(), 0);
}

TEST(NullCommunicator, RefusesWhatItCannotKnow) {
  EXPECT_THROW(make_null_communicator({.dp = 2, .tp = 2, .rank = 4}),
               InternalError);
  const auto world = make_null_communicator({.dp = 2, .tp = 2});
  EXPECT_THROW(world->split(0, 0, "host"), InternalError);
  EXPECT_THROW(world->split(0, 2, "dp"), InternalError);
  EXPECT_THROW(ProcessMesh(*world, 4, 2), InputError);
}

}  // namespace
}  // namespace mumoe::dist

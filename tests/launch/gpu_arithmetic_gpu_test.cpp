// Needs a GPU (label gpu): with `train.deterministic` the same bits each time,
// and of a resumed run those of one that was not stopped.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "dist/self_communicator.h"
#include "launch/gpu_arithmetic.h"
#include "tests/support/environment.h"
#include "tests/support/gpu.h"
#include "tests/train/small_run.h"

namespace mumoe::launch {
namespace {

using testing::gpu;
using testing::RunResult;
using testing::SmallRun;

class Deterministic : public ::testing::Test {
 protected:
  Deterministic() { set_gpu_arithmetic(true); }

  static RunResult train(SmallRun run) {
    const auto self = dist::make_self_communicator(at::kCPU);
    run.device = gpu();
    return testing::train_small(*self, run);
  }

  const testing::SetVariable workspace_{"CUBLAS_WORKSPACE_CONFIG", ":4096:8"};
};

constexpr at::ScalarType kTypes[] = {at::kBFloat16, at::kFloat, at::kDouble};

// Long enough to be split among the blocks of a GPU.
TEST_F(Deterministic, AttentionForwardAndBackward) {
  at::manual_seed(7);
  for (const auto dtype : kTypes) {
    const at::Tensor x =
        at::randn({3, 4, 6, 512, 64}).to(gpu(), dtype).requires_grad_(true);
    at::Tensor before;
    for (int time = 0; time < 3; ++time) {
      const at::Tensor y =
          at::scaled_dot_product_attention(x[0], x[1], x[2], {}, 0.0, true);
      y.backward(y.detach());
      const at::Tensor grad = x.grad().clone();
      x.mutable_grad().reset();
      if (time > 0) {
        EXPECT_TRUE(at::equal(grad, before)) << dtype;
      }
      before = grad;
    }
  }
}

TEST_F(Deterministic, TrainingTwice) {
  for (const auto dtype : kTypes) {
    for (const std::string mlp : {"cp", "tr", "dense"}) {
      const SmallRun run{.dtype = dtype, .mlp = mlp, .steps = 4};
      EXPECT_TRUE(at::equal(train(run).weights, train(run).weights))
          << dtype << " " << mlp;
    }
  }
}

TEST_F(Deterministic, AResumedRun) {
  const testing::ScratchFolder folder;
  SmallRun run{.dtype = at::kBFloat16, .steps = 6};
  run.out = folder.path() / "whole";
  const RunResult whole = train(run);
  run.out = folder.path() / "parts";
  run.steps = 3;
  train(run);
  run.steps = 6;
  run.resume = true;
  const RunResult resumed = train(run);
  EXPECT_TRUE(at::equal(resumed.weights, whole.weights));
  EXPECT_EQ(resumed.val_loss, whole.val_loss);
}

}  // namespace
}  // namespace mumoe::launch

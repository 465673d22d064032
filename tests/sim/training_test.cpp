// The trainer on simulated GPUs against the CPU, and mistakes in it that would
// pass unseen where device memory is the host's.

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "dist/self_communicator.h"
#include "tests/fakes/fake_cuda_runtime.h"
#include "tests/fakes/sim_gpu.h"
#include "tests/train/small_run.h"

namespace mumoe {
namespace {

using testing::RunResult;
using testing::SmallRun;
using testing::train_small;

double difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.cpu().to(at::kDouble), y = b.cpu().to(at::kDouble);
  return ((x - y).norm() / y.norm()).item<double>();
}

RunResult on(at::DeviceType device, SmallRun run) {
  const auto self = dist::make_self_communicator(at::kCPU);
  run.device = device == at::kCUDA ? at::Device(at::kCUDA, 0) : at::kCPU;
  return train_small(*self, run);
}

TEST(SimulatedTraining, IsTheCpusInFp64) {
  fakes::stream_lag().microseconds = 300;
  fakes::stream_lag().one_in = 64;
  for (const char* mlp : {"cp", "tr", "dense"}) {
    SmallRun run;
    run.mlp = mlp;
    run.micro_batch = 4;
    run.steps = 3;
    run.zero = 1;
    const RunResult cpu = on(at::kCPU, run), gpu = on(at::kCUDA, run);
    EXPECT_LT(difference(gpu.weights, cpu.weights), 1e-10) << mlp;
    for (const auto& [name, gradient] : cpu.first_gradients) {
      EXPECT_LT(difference(gpu.first_gradients.at(name), gradient), 1e-10)
          << mlp << " " << name;
    }
  }
}

/// Products of a run; a run that reads the active experts has fewer.
std::int64_t products_of(const SmallRun& run, RunResult& result) {
  fakes::take_gpu_counts();
  result = on(at::kCUDA, run);
  return fakes::take_gpu_counts().by_name["aten::mm"].times;
}

// The share of active experts is at most 1: from the first step on, or never.
TEST(SimulatedTraining, MixesByTheShareOfActiveExperts) {
  SmallRun run;
  run.steps = 4;
  RunResult dense, sparse, later_on;
  run.sparse_share = 0;
  const auto all = products_of(run, dense);
  run.sparse_share = 1;
  EXPECT_LT(products_of(run, sparse), all);
  for (std::size_t s = 0; s < dense.losses.size(); ++s) {
    EXPECT_NEAR(sparse.losses[s] / dense.losses[s], 1, 1e-10);
  }
  // From the second step on, where not all are active any more: each step takes
  // what the one before has counted.
  const auto fewest = products_of(run, sparse);
  run.sparse_share = 1 - 1e-9;
  const auto later = products_of(run, later_on);
  EXPECT_LT(later, all);
  EXPECT_GT(later, fewest);
}

// A run goes on as it would have, whatever is measured at its next start.
TEST(SimulatedTraining, ResumesWithTheShareThatItHad) {
  const testing::ScratchFolder folder;
  SmallRun run;
  run.dtype = at::kBFloat16;
  run.sparse_share = 1;
  run.steps = 4;
  run.out = folder.path() / "whole";
  const RunResult whole = on(at::kCUDA, run);
  run.out = folder.path() / "halves";
  run.steps = 2;
  on(at::kCUDA, run);
  run.steps = 4;
  run.resume = true;
  run.sparse_share = 0;
  RunResult resumed;
  const auto products = products_of(run, resumed);
  EXPECT_TRUE(at::equal(resumed.weights, whole.weights));
  // Two dense steps would have more.
  run.resume = false;
  run.out = folder.path() / "dense";
  run.steps = 2;
  RunResult dense;
  EXPECT_LT(products, products_of(run, dense));
}

// Counted on the device, of the same coefficients up to rounding: the same.
TEST(SimulatedTraining, CountsTheCpusExperts) {
  fakes::stream_lag().microseconds = 300;
  fakes::stream_lag().one_in = 64;
  SmallRun run;
  run.micro_batch = 4;
  run.steps = 3;
  run.experts_every = 1;
  const RunResult cpu = on(at::kCPU, run), gpu = on(at::kCUDA, run);
  EXPECT_NE(cpu.experts[2].find("h.1.mlp"), std::string::npos);
  EXPECT_EQ(gpu.experts, cpu.experts);
}

SmallRun spoilt(std::function<at::Tensor(const at::Tensor&)> spoil) {
  SmallRun run;
  run.steps = 2;
  run.spoil = std::move(spoil);
  return run;
}

TEST(SimulatedTraining, WithoutAMistakeInItRuns) {
  const SmallRun run = spoilt([](const at::Tensor& loss) {
    std::printf("%f\n", loss.detach().cpu().item<double>());
    return loss * at::ones({1}, loss.options()).squeeze();
  });
  EXPECT_EQ(on(at::kCUDA, run).losses.size(), 2u);
}

TEST(SimulatedTrainingDeathTest, ACpuLeftOutIsSeen) {
  const SmallRun run = spoilt([](const at::Tensor& loss) {
    std::printf("%f\n", *loss.const_data_ptr<double>());
    return loss;
  });
  EXPECT_DEATH(on(at::kCUDA, run), "the host touches memory of cuda:0");
}

TEST(SimulatedTraining, ATensorMadeOnTheCpuIsSeen) {
  const SmallRun run = spoilt([](const at::Tensor& loss) {
    return (loss * at::ones({1}, at::kDouble)).squeeze();
  });
  try {
    on(at::kCUDA, run);
    FAIL() << "it ran";
  } catch (const c10::Error& error) {
    EXPECT_NE(
        std::string(error.what()).find("at least two devices, cuda:0 and cpu"),
        std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace mumoe

// The trainer on simulated GPUs against the CPU, and mistakes in it that would
// pass unseen where device memory is the host's.

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "dist/self_communicator.h"
#include "tests/fakes/fake_cuda_runtime.h"
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

// A model and samples of one's own: the trainer knows the two seams alone.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"
#include "dist/self_communicator.h"
#include "model/families.h"
#include "tests/support/thread_communicator.h"
#include "train/evaluate.h"
#include "train/trainer.h"

namespace mumoe {
namespace {

/// y = 2·x₀ − x₁ + 1, a sample by its index.
class LinePoints final : public data::Samples {
 public:
  std::uint64_t size() const override { return 40; }
  std::int64_t targets_per_sample() const override { return 1; }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override {
    const CounterRandom random(3, Purpose::test);
    std::vector<float> input, target;
    for (const std::uint64_t i : indices) {
      const auto x = static_cast<float>(random.normal(2 * (i % size())));
      const auto y = static_cast<float>(random.normal(2 * (i % size()) + 1));
      input.insert(input.end(), {x, y});
      target.push_back(2 * x - y + 1);
    }
    return {static_cast<std::int64_t>(indices.size()), input, target};
  }
};

class LinearRegression final : public model::Model {
 public:
  explicit LinearRegression(dist::ParameterRegistry& registry)
      : weight_(registry.add({.name = "weight",
                              .global_shape = {2, 1},
                              .placement = {},
                              .init = dist::Initializer::constant(0)})),
        bias_(registry.add({.name = "bias",
                            .global_shape = {1},
                            .placement = {},
                            .init = dist::Initializer::constant(0)})) {}

  at::Tensor loss(const model::Batch& batch, double scale) const override {
    const at::Tensor x = batch.input.to(weight_.scalar_type());
    const at::Tensor error = at::mm(x, weight_) + bias_ - batch.target;
    return error.square().sum() * scale;
  }
  model::Score score(const model::Batch& batch) const override {
    at::NoGradGuard no_grad;
    return {loss(batch, 1).item<double>()};
  }
  std::span<const MuMoEBlock* const> mixtures() const override { return {}; }
  std::span<MuMoEBlock* const> blocks() override { return {}; }
  model::PassCost cost(std::int64_t samples, at::Device) const override {
    return {.flops = 12.0 * static_cast<double>(samples)};
  }
  std::vector<Product> products(std::int64_t samples) const override {
    return {{samples, 2, 1}};
  }
  std::string describe() const override { return "a line"; }

 private:
  at::Tensor weight_;
  at::Tensor bias_;
};

struct Trained {
  std::vector<double> losses;
  double evaluation = 0;
};

Trained train_line(dist::Communicator& world, int zero) {
  dist::ProcessMesh mesh(world, 0, 1);
  dist::ParameterRegistry registry(mesh.tp(), at::kDouble, at::kCPU);
  const LinearRegression model(registry);
  dist::FlatBuckets buckets(registry, mesh, {.zero = zero});
  const LinePoints points;
  run::TrainerConfig config;
  config.batch = 8;
  config.micro_batch = 2;
  run::ScheduleConfig schedule;
  schedule.lr = 0.1;
  schedule.steps = 200;
  run::OptimizerConfig optimizer;
  optimizer.weight_decay = 0;
  train::Trainer trainer(config,
                         schedule,
                         optimizer,
                         {mesh, model, buckets, points, points});
  buckets.initialise(1);
  Trained result;
  for (int step = 0; step < 200; ++step) {
    const train::StepReport report = trainer.step().value();
    EXPECT_EQ(report.targets, 8 * (step + 1));
    EXPECT_FALSE(report.active_share);
    result.losses.push_back(report.loss);
  }
  buckets.await();
  const auto evaluate = [&](bool stop) {
    return train::evaluate(model,
                           points,
                           99,
                           /*micro_batch=*/3,
                           mesh,
                           at::kCPU,
                           [stop] { return stop; });
  };
  EXPECT_FALSE(evaluate(/*stop=*/world.rank() == 0)) << "one rank stops all";
  result.evaluation = evaluate(/*stop=*/false).value().loss;
  return result;
}

TEST(Seams, AModelAndSamplesOfOnesOwnAreTrainedAtEveryLayout) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const Trained one = train_line(*self, 0);
  EXPECT_GT(one.losses.front(), 1);
  EXPECT_LT(one.losses.back(), 1e-3);
  EXPECT_LT(one.evaluation, 1e-3);
  for (const int zero : {0, 1}) {
    SCOPED_TRACE(zero);
    dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
      const Trained two = train_line(world, zero);
      for (std::size_t step = 0; step < one.losses.size(); ++step) {
        EXPECT_NEAR(two.losses[step], one.losses[step], 1e-10);
      }
      EXPECT_NEAR(two.evaluation, one.evaluation, 1e-10);
    });
  }
}

TEST(Families, MakeModelsByTheirNames) {
  model::ModelConfig config;
  config.depth = 1;
  config.heads = 2;
  config.width = 8;
  config.context = 5;
  config.vocab = 40;
  for (const model::Family& family : model::families()) {
    const auto self = dist::make_self_communicator(at::kCPU);
    dist::ParameterRegistry registry(*self, at::kFloat, at::kCPU);
    const auto made =
        model::family(family.name).make(config, registry, Sharding{}, nullptr);
    EXPECT_GT(registry.global_numel(), 0) << family.name;
    EXPECT_GT(made->cost(1, at::kCPU).flops, 0) << family.name;
  }
}

}  // namespace
}  // namespace mumoe

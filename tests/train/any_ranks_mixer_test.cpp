// Statistics of a batch over ranks of unequal parts of it.
#include <gtest/gtest.h>

#include <optional>

#include "dist/self_communicator.h"
#include "tests/support/errors.h"
#include "tests/support/small_mixer.h"
#include "tests/support/thread_communicator.h"
#include "train/trainer.h"

namespace mumoe {
namespace {

/// 37 images of a `small_mixer`, each of its class.
class Images final : public data::Samples {
 public:
  std::uint64_t size() const override { return 37; }
  std::int64_t targets_per_sample() const override { return 1; }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override {
    const CounterRandom random(6, Purpose::test);
    std::vector<float> input;
    std::vector<std::int32_t> classes;
    for (const std::uint64_t index : indices) {
      const std::uint64_t item = index % size();
      classes.push_back(static_cast<std::int32_t>(item % 7));
      for (std::uint64_t i = 0; i < 72; ++i) {
        input.push_back(static_cast<float>(random.normal(72 * item + i)));
      }
    }
    return {static_cast<std::int64_t>(indices.size()), input, classes};
  }
};

struct Trained {
  std::vector<double> losses;
  std::map<std::string, at::Tensor> weights;  ///< Running statistics, too.
};

Trained train(dist::Communicator& world, std::int64_t micro_batch) {
  auto shape = testing::small_mixer("cp");
  shape.stochastic_depth = 0.3;
  shape.label_smoothing = 0.1;
  const Images images;
  dist::ProcessMesh mesh(world, 0, 1);
  dist::ParameterRegistry registry(mesh.tp(), at::kDouble, at::kCPU);
  const model::Mixer mixer(shape, registry, {}, &mesh.dp());
  dist::FlatBuckets buckets(registry, mesh, {.bytes = 1 << 12});
  run::TrainerConfig config;
  config.batch = 16;
  config.micro_batch = micro_batch;
  train::Trainer trainer(config,
                         {},
                         {},
                         {mesh, mixer, buckets, images, images});
  buckets.initialise(3);
  Trained trained;
  for (int step = 0; step < 6; ++step) {
    trained.losses.push_back(trainer.step().value().loss);
  }
  buckets.await();
  trained.weights =
      testing::whole_tensors(buckets, &dist::Bucket::master).tensors;
  return trained;
}

TEST(AnyRanks, GiveAMixerTheSameStatistics) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const Trained one = train(*self, 0);
  for (const int ranks : {2, 3, 4}) {
    SCOPED_TRACE(ranks);
    dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
      const Trained found = train(world, 0);
      for (std::size_t s = 0; s < one.losses.size(); ++s) {
        EXPECT_NEAR(found.losses[s] / one.losses[s], 1, 1e-10) << "step " << s;
      }
      int statistics = 0;
      for (const auto& [name, weight] : one.weights) {
        if (name.find("running_") == std::string::npos) continue;
        ++statistics;
        EXPECT_LT(testing::relative_error(found.weights.at(name), weight),
                  1e-10)
            << name;
      }
      EXPECT_EQ(statistics, 8) << "two of each of four gates";
    });
  }
}

TEST(AnyRanks, OfAMixerMayNotBeWithoutASampleOfABatchNorm) {
  dist::ThreadWorld::run(3, [&](dist::Communicator& world) {
    testing::expect_input_error([&] { train(world, 1); },
                                {"train.micro_batch = 1", "3 data-parallel"});
  });
}

}  // namespace
}  // namespace mumoe

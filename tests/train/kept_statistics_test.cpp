// Running statistics of batch norms, which forward passes update, after steps
// that are left out or given up.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "dist/self_communicator.h"
#include "tests/support/small_mixer.h"
#include "tests/train/small_run.h"
#include "train/trainer.h"

namespace mumoe {
namespace {

/// Images of a `small_mixer`, each of its class.
class Images final : public data::Samples {
 public:
  std::uint64_t size() const override { return 24; }
  std::int64_t targets_per_sample() const override { return 1; }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override {
    const CounterRandom random(6, Purpose::test);
    std::vector<float> input;
    std::vector<std::int32_t> classes;
    for (const std::uint64_t index : indices) {
      classes.push_back(static_cast<std::int32_t>(index % 7));
      for (std::uint64_t i = 0; i < 72; ++i) {
        input.push_back(static_cast<float>(random.normal(72 * index + i)));
      }
    }
    return {static_cast<std::int64_t>(indices.size()), input, classes};
  }
};

/// Two good steps of two micro-batches, then one that is not to be: of a NaN
/// loss, or given up between its micro-batches.
class KeptStatistics : public ::testing::Test {
 protected:
  KeptStatistics() {
    config_.batch = 8;
    config_.micro_batch = 4;
    config_.bad_step = run::BadStep::skip;
  }

  /// All weights and statistics before the last step and after it.
  template <class Spoil, class Stop>
  void expect_kept(const Spoil& spoil, const Stop& stop) {
    const auto self = dist::make_self_communicator(at::kCPU);
    const Images images;
    dist::ProcessMesh mesh(*self, 0, 1);
    dist::ParameterRegistry registry(mesh.tp(), at::kDouble, at::kCPU);
    const model::Mixer mixer(testing::small_mixer("cp"), registry, {}, nullptr);
    const testing::SpoiltModel model(mixer, spoil);
    dist::FlatBuckets buckets(registry, mesh, {});
    train::Trainer trainer(config_,
                           {},
                           {},
                           {mesh, model, buckets, images, images, stop});
    buckets.initialise(3);
    const auto held = [&] {
      std::map<std::string, at::Tensor> copies;
      for (const auto& p : registry.parameters()) {
        copies[p.name] = p.value.detach().clone();
      }
      return copies;
    };
    const auto at_first = held();
    trainer.step().value();
    trainer.step().value();
    last_ = true;
    const auto before = held();
    trainer.step();
    const auto after = held();
    int moved = 0;
    for (const auto& [name, value] : before) {
      EXPECT_TRUE(at::equal(after.at(name), value)) << name;
      moved += name.find("running_") != std::string::npos &&
               !at::equal(at_first.at(name), value);
    }
    EXPECT_EQ(moved, 8) << "two of each of four gates were updated";
  }

  run::TrainerConfig config_;
  bool last_ = false;
};

TEST_F(KeptStatistics, AreThoseBeforeASkippedStep) {
  expect_kept(
      [&](const at::Tensor& loss, const model::Batch&) {
        return last_ ? loss * std::numeric_limits<double>::quiet_NaN() : loss;
      },
      [] { return false; });
}

TEST_F(KeptStatistics, AreThoseBeforeAStepThatWasGivenUp) {
  expect_kept(nullptr, [&] { return last_; });
}

}  // namespace
}  // namespace mumoe

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dist/self_communicator.h"
#include "tests/train/small_run.h"
#include "train/trainer.h"

namespace mumoe {
namespace {

using testing::ScratchFolder;

/// Three steps of two micro-batches and evaluations after the second and the
/// third, asked to stop from question `stop_at` on (0: never); resumed where
/// `folder` has a checkpoint. Returns the step that it came to.
std::int64_t three_steps(const std::filesystem::path& folder,
                         int stop_at,
                         train::Outcome expected) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ScratchFolder scratch;
  const auto tokens = testing::make_tokens(scratch.path() / "train.bin", 1);
  const data::TokenWindows windows(tokens, 12, 0);
  dist::ProcessMesh mesh(*self, 0, 1);
  dist::ParameterRegistry registry(mesh.tp(), at::kFloat, at::kCPU);
  const model::Gpt2 gpt2(testing::small_model("cp"), registry);
  dist::FlatBuckets buckets(registry, mesh, {.bytes = 4096});
  buckets.initialise(1);
  run::TrainerConfig config;
  config.batch = 4;
  config.micro_batch = 2;
  config.steps = 3;
  config.eval_every = 2;
  config.eval_windows = 4;
  config.out = folder;
  int asked = 0;
  train::Trainer trainer(config,
                         {},
                         {},
                         {mesh, gpt2, buckets, windows, windows, [&] {
                            return ++asked >= stop_at && stop_at > 0;
                          }});
  const auto checkpoint = run::latest_checkpoint(folder / "checkpoints");
  if (checkpoint) trainer.resume(*checkpoint);
  EXPECT_EQ(trainer.run(), expected);
  if (expected == train::Outcome::done) {
    EXPECT_TRUE(trainer.evaluation());
  }
  return trainer.state().step;
}

/// What metrics.jsonl says that does not depend on time.
std::string numbers_of(const std::filesystem::path& folder) {
  std::ifstream in(folder / "metrics.jsonl");
  std::string numbers;
  for (std::string line; std::getline(in, line);) {
    const auto entry = nlohmann::json::parse(line);
    for (const char* name : {"step", "loss", "grad_norm", "val_loss"}) {
      if (entry.contains(name)) numbers += entry[name].dump() + " ";
    }
    numbers += "\n";
  }
  return numbers;
}

TEST(Stop, TakesEffectBetweenMicroBatchesAndBatchesOfAnEvaluation) {
  const ScratchFolder whole;
  three_steps(whole.path(), 0, train::Outcome::done);
  // Steps that are whole when the question of this number is answered by yes:
  // two a step, of which the first gives it up, and one a batch of evaluation.
  const std::vector<std::int64_t> steps = {0, 1, 1, 2, 2, 2, 2, 3, 3, 3};
  for (std::size_t i = 0; i < steps.size(); ++i) {
    SCOPED_TRACE(i + 1);
    const ScratchFolder folder;
    EXPECT_EQ(three_steps(folder.path(),
                          static_cast<int>(i + 1),
                          train::Outcome::preempted),
              steps[i]);
    const auto saved = run::latest_checkpoint(folder.path() / "checkpoints");
    EXPECT_EQ(saved.has_value(), steps[i] > 0);
    three_steps(folder.path(), 0, train::Outcome::done);
    EXPECT_EQ(numbers_of(folder.path()), numbers_of(whole.path()));
  }
  // A run that is resumed at its end knows what it had found.
  const auto before = numbers_of(whole.path());
  three_steps(whole.path(), 1, train::Outcome::done);
  EXPECT_EQ(numbers_of(whole.path()), before);
}

}  // namespace
}  // namespace mumoe

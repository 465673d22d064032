// A run that is saved at any layout goes on at any other as if it had not been
// stopped: at all pairs of dp × tp, with and without ZeRO-1, by any plan.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "dist/self_communicator.h"
#include "model/gpt2.h"
#include "run/checkpoint_folder.h"
#include "run/load_checkpoint.h"
#include "run/manifest.h"
#include "tests/support/small_mixer.h"
#include "tests/support/thread_communicator.h"
#include "tests/train/small_run.h"

namespace mumoe {
namespace {

namespace fs = std::filesystem;
using testing::ScratchFolder;

constexpr int kStop = 5;    ///< The step after which runs are saved,
constexpr int kSteps = 20;  ///< and how many follow.

struct Layout {
  int dp = 1;
  int tp = 1;
  int zero = 0;
  Plan plan = Plan::sequence;

  int ranks() const { return dp * tp; }
  std::string describe() const {
    return fmt::format("{}x{}, zero {}, {}", dp, tp, zero, to_string(plan));
  }
};

constexpr std::pair<int, int> kGrids[] =
    {{1, 1}, {2, 1}, {3, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 4}};

/// The layouts; those at odd places have another plan with each `turn`.
std::vector<Layout> layouts(int turn) {
  constexpr Plan kPlans[] = {Plan::sequence, Plan::bottleneck, Plan::rank};
  std::vector<Layout> all;
  for (const int zero : {0, 1}) {
    for (const auto& [dp, tp] : kGrids) {
      const Plan plan = kPlans[(turn + static_cast<int>(all.size())) % 3];
      all.push_back({dp, tp, zero, tp == 1 ? Plan::sequence : plan});
    }
  }
  return all;
}

/// What is trained, and on what.
struct Subject {
  std::string family;
  std::string mlp;
};

/// Images of a `small_mixer`, each of its class.
class Images final : public data::Samples {
 public:
  std::uint64_t size() const override { return 37; }
  std::int64_t targets_per_sample() const override { return 1; }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override {
    const at::Tensor all = testing::made_up({37, 72}, 4).to(at::kFloat);
    std::vector<float> input;
    std::vector<std::int32_t> classes;
    for (const std::uint64_t index : indices) {
      const std::uint64_t item = index % size();
      classes.push_back(static_cast<std::int32_t>(item % 7));
      const float* image = all.const_data_ptr<float>() + 72 * item;
      input.insert(input.end(), image, image + 72);
    }
    return {static_cast<std::int64_t>(indices.size()), input, classes};
  }
};

/// All that one rank has of a run.
class Rank {
 public:
  Rank(const Subject& subject,
       const Layout& layout,
       dist::Communicator& world,
       const fs::path& out)
      : scratch_(out / fmt::format("rank_{}", world.rank())),
        world_(world),
        mesh_(world, 0, layout.tp),
        registry_(mesh_.tp(), at::kDouble, at::kCPU),
        sharding_{layout.plan, &mesh_.tp()} {
    fs::create_directories(scratch_);
    if (subject.family == "gpt2") {
      const auto config = testing::small_model(subject.mlp);
      tokens_ = testing::make_tokens(scratch_ / "train.bin", 1);
      samples_ = std::make_unique<data::TokenWindows>(*tokens_,
                                                      config.context,
                                                      config_.seed);
      model_ = std::make_unique<model::Gpt2>(config, registry_, sharding_);
    } else {
      samples_ = std::make_unique<Images>();
      model_ = std::make_unique<model::Mixer>(
          testing::small_mixer(subject.mlp),
          registry_,
          sharding_,
          cut_by_tokens() ? &mesh_.dp_tp() : &mesh_.dp());
    }
    buckets_ = std::make_unique<dist::FlatBuckets>(
        registry_,
        mesh_,
        dist::BucketOptions{.bytes = 4096,
                            .zero = layout.zero,
                            .whole_is_partial = cut_by_tokens()});
    // All ranks' micro-batches together are the batch, whatever dp is.
    config_.batch = 8;
    config_.eval_windows = 1;
    config_.log_every = 1 << 20;
    config_.checkpoint_minutes = 0;
  }

  std::unique_ptr<train::Trainer> trainer(std::int64_t steps,
                                          const fs::path& out = {}) {
    config_.steps = steps;
    config_.out = out;
    run::ScheduleConfig schedule;
    schedule.lr = 3e-3;
    schedule.min_lr = 1e-3;
    schedule.warmup = 3;
    schedule.steps = kStop + kSteps;
    return std::make_unique<train::Trainer>(
        config_,
        schedule,
        run::OptimizerConfig{},
        train::TrainerParts{mesh_, *model_, *buckets_, *samples_, *samples_});
  }
  void initialise() { buckets_->initialise(3); }

  /// All of a checkpoint at this layout, gathered. Collective.
  std::map<std::string, at::Tensor> load(const fs::path& checkpoint) {
    const train::AdamW adam({}, *buckets_);
    const auto state = adam.state();
    run::load_checkpoint(checkpoint, *buckets_, state, world_);
    const at::NoGradGuard no_grad;
    std::map<std::string, at::Tensor> all;
    for (std::size_t b = 0; b < buckets_->buckets().size(); ++b) {
      const auto& bucket = buckets_->buckets()[b];
      const auto gather = [&](const std::string& prefix,
                              const at::Tensor& shard) {
        const at::Tensor whole = buckets_->unshard(bucket, shard);
        for (const auto& entry : bucket.entries) {
          all[prefix + buckets_->parameter(entry).name] =
              buckets_->gather(whole, entry).clone();
        }
      };
      gather("master.", bucket.master);
      if (!bucket.trained) continue;
      for (const auto& moment : state) {
        gather(moment.name + ".", moment.shards[b]);
      }
    }
    return all;
  }

 private:
  bool cut_by_tokens() const { return sharding_.region().tokens_cut(); }

  fs::path scratch_;
  dist::Communicator& world_;
  dist::ProcessMesh mesh_;
  dist::ParameterRegistry registry_;
  Sharding sharding_;
  run::TrainerConfig config_;
  std::optional<data::TokenFile> tokens_;
  std::unique_ptr<data::Samples> samples_;
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<dist::FlatBuckets> buckets_;
};

struct Trained {
  std::vector<double> losses;
  std::vector<std::uint64_t> hashes;
};

/// Steps up to the last.
Trained go_on(train::Trainer& trainer) {
  Trained trained;
  while (trainer.state().step < kStop + kSteps) {
    const auto report = trainer.step().value();
    trained.losses.push_back(report.loss);
    trained.hashes.push_back(report.samples_hash.value());
  }
  return trained;
}

/// What the files of a checkpoint hold, put together by what the manifest says
/// of each piece.
std::map<std::string, at::Tensor> read_whole(const fs::path& checkpoint) {
  const run::Manifest manifest = run::read_manifest(checkpoint);
  std::vector<std::string> files;
  for (const auto& file : manifest.files) {
    files.push_back(read_file(checkpoint / file.name));
  }
  std::map<std::string, at::Tensor> all;
  for (const auto& [name, tensor] : manifest.tensors) {
    const at::Tensor whole = at::zeros(tensor.shape, tensor.dtype);
    for (const auto& piece : tensor.pieces) {
      at::Tensor part = whole;
      for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
        part = part.narrow(static_cast<std::int64_t>(d),
                           piece.begin[d],
                           piece.extent[d]);
      }
      const at::Tensor flat = part.flatten().clone();
      std::memcpy(
          static_cast<char*>(flat.data_ptr()) +
              piece.first * static_cast<std::int64_t>(flat.element_size()),
          files[piece.file].data() + piece.offset,
          static_cast<std::size_t>(piece.count) * flat.element_size());
      part.copy_(flat.view(part.sizes()));
    }
    all[name] = whole;
  }
  return all;
}

void expect_equal(const std::map<std::string, at::Tensor>& found,
                  const std::map<std::string, at::Tensor>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    EXPECT_TRUE(at::equal(found.at(name), tensor)) << name;
  }
}

/// The run of one rank that nobody stopped, from the step after `kStop` on.
Trained uninterrupted(const Subject& subject) {
  const ScratchFolder folder;
  const auto self = dist::make_self_communicator(at::kCPU);
  Rank rank(subject, {}, *self, folder.path());
  const auto trainer = rank.trainer(kStop + kSteps);
  rank.initialise();
  Trained all = go_on(*trainer);
  all.losses.erase(all.losses.begin(), all.losses.begin() + kStop);
  all.hashes.erase(all.hashes.begin(), all.hashes.begin() + kStop);
  return all;
}

class ResumeLayouts : public ::testing::TestWithParam<Subject> {
 protected:
  /// Where the run is saved after step `kStop`.
  fs::path save_at(const Layout& layout) {
    const fs::path out = folder_.path() / "run";
    fs::remove_all(out);
    dist::ThreadWorld::run(layout.ranks(), [&](dist::Communicator& world) {
      Rank rank(GetParam(), layout, world, folder_.path());
      const auto trainer = rank.trainer(kStop, out);
      rank.initialise();
      trainer->run();
    });
    return run::checkpoint_path(out / "checkpoints", kStop);
  }

  void resume_at(const Layout& layout, const fs::path& checkpoint) {
    const auto saved = read_whole(checkpoint);
    dist::ThreadWorld::run(layout.ranks(), [&](dist::Communicator& world) {
      Rank rank(GetParam(), layout, world, folder_.path());
      const auto loaded = rank.load(checkpoint);
      if (world.rank() == 0) expect_equal(loaded, saved);
      const auto trainer = rank.trainer(kStop + kSteps);
      trainer->resume(checkpoint);
      const Trained found = go_on(*trainer);
      if (world.rank() != 0) return;
      EXPECT_EQ(found.hashes, whole_.hashes);
      ASSERT_EQ(found.losses.size(), whole_.losses.size());
      for (std::size_t s = 0; s < found.losses.size(); ++s) {
        EXPECT_NEAR(found.losses[s] / whole_.losses[s], 1, 1e-10) << s;
      }
    });
  }

  const ScratchFolder folder_;
  const Trained whole_ = uninterrupted(GetParam());
};

TEST_P(ResumeLayouts, GiveTheRunThatNobodyStopped) {
  ASSERT_EQ(whole_.losses.size(), kSteps);
  EXPECT_LT(whole_.losses.back(), whole_.losses.front()) << "it learns";
  int turn = 0;
  for (const Layout& source : layouts(turn)) {
    SCOPED_TRACE("saved at " + source.describe());
    const fs::path checkpoint = save_at(source);
    // Half of all pairs change ZeRO; over two sources each target has both.
    const auto targets = layouts(++turn);
    constexpr std::size_t kHalf = std::size(kGrids);
    for (std::size_t t = 0; t < kHalf; ++t) {
      const Layout& target =
          targets[t + ((t + static_cast<std::size_t>(turn)) % 2) * kHalf];
      SCOPED_TRACE("resumed at " + target.describe());
      resume_at(target, checkpoint);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(OfAllFamilies,
                         ResumeLayouts,
                         ::testing::Values(Subject{"gpt2", "cp"},
                                           Subject{"gpt2", "tr"},
                                           Subject{"mixer", "cp"}),
                         [](const auto& info) {
                           return info.param.family + "_" + info.param.mlp;
                         });

}  // namespace
}  // namespace mumoe

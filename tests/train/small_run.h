#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "data/text/token_windows.h"
#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "model/gpt2.h"
#include "tests/support/parameters.h"
#include "tests/support/scratch.h"
#include "train/trainer.h"

// A model small enough to train in a test, on tokens made up here.

namespace mumoe::testing {

inline constexpr std::int64_t kVocabulary = 19;

/// Tokens with some structure, so that losses fall.
inline data::TokenFile make_tokens(const std::filesystem::path& path,
                                   std::uint64_t stream) {
  const CounterRandom random(8, Purpose::test, stream);
  std::vector<std::uint16_t> tokens{1};
  for (std::uint64_t i = 0; i < 3000; ++i) {
    const auto drawn = random.below(i, kVocabulary);
    tokens.push_back(static_cast<std::uint16_t>(
        drawn < 4 ? drawn : (tokens.back() * 5u + 3u) % kVocabulary));
  }
  data::write_token_file(path, tokens);
  return data::TokenFile(path);
}

struct SmallRun {
  at::ScalarType dtype = at::kDouble;
  std::string mlp = "cp";
  /// Of the mixtures, for `mlp`; empty: {7} for CP, {2, 3, 5} for rings.
  std::vector<std::int64_t> ranks = {};
  /// dp takes the ranks that tp leaves.
  int tp = 1;
  Plan plan = Plan::sequence;
  std::int64_t batch = 8;
  std::int64_t micro_batch = 0;
  std::int64_t steps = 20;
  std::filesystem::path out = {};
  bool resume = false;
  int zero = 0;
  dist::Wire wire = dist::Wire::fp32;
  double checkpoint_minutes = 0;
  double peak_flops = 0;
  at::Device device = at::kCPU;
  /// Moves tensors of a GPU between the ranks; null where there is one rank.
  dist::Communicator* data = nullptr;
  /// How parameters lie, as on a GPU: neither changes what is computed.
  std::int64_t row_multiple = 1;
  std::int64_t align = 1;
  bool recompute = false;  ///< Experts' mixtures, in backward.
  /// Of `Trainer::set_sparse_share`, where it is called.
  std::optional<double> sparse_share = {};
  /// What it trains on when, instead of the order that the seed gives.
  std::function<std::unique_ptr<data::Sequence>(const data::Samples& windows,
                                                const data::SampleOrder& order)>
      sequence = nullptr;
  /// What the loss of every micro-batch passes through on its way to backward:
  /// a mistake for a test to find. Null: nothing.
  std::function<at::Tensor(const at::Tensor& loss)> spoil = nullptr;
  /// The same, of a mistake in the data.
  std::function<at::Tensor(const at::Tensor& loss, const model::Batch& batch)>
      spoil_batch = nullptr;
  run::BadStep bad_step = run::BadStep::stop;
  double spike = 0;
  std::int64_t spike_window = 128;
  std::int64_t checkpoint_every = 0;
  bool checkpoint_best = false;
  bool checkpoint_last = true;
  run::SaveFailure checkpoint_failure = run::SaveFailure::proceed;
  std::map<std::string, std::string> settings = {};
  /// Instead of the newest checkpoint.
  std::filesystem::path resume_from = {};
  /// A checkpoint of another run, that it branches off at.
  std::filesystem::path branch_from = {};
  std::int64_t experts_every = 0;  ///< `TrainerConfig` says what these are.
  std::string tensorboard = "no";
  std::filesystem::path prometheus = {};
  std::function<std::string()> sample_text = nullptr;
  std::int64_t eval_every = 0;
  /// Instead of one with a warm-up.
  std::optional<run::ScheduleConfig> schedule = {};
};

/// A model with such a mistake.
class SpoiltModel final : public model::Model {
 public:
  using Spoil = std::function<at::Tensor(const at::Tensor& loss,
                                         const model::Batch& batch)>;

  SpoiltModel(const model::Model& inner, Spoil spoil)
      : inner_(inner), spoil_(std::move(spoil)) {}
  SpoiltModel(const model::Model& inner, const SmallRun& run)
      : SpoiltModel(inner, run.spoil_batch) {
    if (!run.spoil) return;
    spoil_ = [spoil = run.spoil](const at::Tensor& loss, const auto&) {
      return spoil(loss);
    };
  }

  at::Tensor loss(const model::Batch& batch, double scale) const override {
    const at::Tensor loss = inner_.loss(batch, scale);
    return spoil_ ? spoil_(loss, batch) : loss;
  }
  model::Score score(const model::Batch& batch) const override {
    return inner_.score(batch);
  }
  bool awaits_weights() const override { return inner_.awaits_weights(); }
  std::span<const MuMoEBlock* const> mixtures() const override {
    return inner_.mixtures();
  }
  std::span<MuMoEBlock* const> blocks() override { return {}; }
  model::PassCost cost(std::int64_t samples, at::Device device) const override {
    return inner_.cost(samples, device);
  }
  std::vector<Product> products(std::int64_t samples) const override {
    return inner_.products(samples);
  }
  std::string describe() const override { return inner_.describe(); }

 private:
  const model::Model& inner_;
  Spoil spoil_;
};

inline model::ModelConfig small_model(const std::string& mlp,
                                      std::vector<std::int64_t> ranks = {}) {
  model::ModelConfig config;
  config.depth = 2;
  config.heads = 4;
  config.width = 16;
  config.context = 12;
  // Neither divides by two or four.
  config.vocab = kVocabulary + 2;
  config.mlp.hidden_dim = 30;
  config.bias = true;
  config.set_mlp(mlp);
  config.mlp.experts = {12};
  if (ranks.empty() && mlp == "cp") ranks = {7};
  if (ranks.empty() && mlp == "tr") ranks = {2, 3, 5};
  config.mlp.ranks = std::move(ranks);
  return config;
}

/// What a run leaves behind; tensors are on the CPU.
struct RunResult {
  std::vector<double> losses;
  std::vector<double> norms;
  std::vector<double> active_shares;       ///< None of a dense model.
  std::vector<std::uint64_t> hashes;       ///< Of the samples taken.
  std::vector<std::string> experts;        ///< JSON; "[]" of steps without.
  std::optional<train::DeviceMemory> gpu;  ///< Of the last step.
  run::RunState state;
  double val_loss = 0;
  double largest_padding = 0;
  at::Tensor weights;  ///< All masters, whole, one after the other by name.
  /// Of the last step, whole, by name; of a run without `out`.
  std::map<std::string, at::Tensor> first_gradients;
  std::map<std::string, at::Tensor> last_gradients;
};

/// What stands beyond the end of cut and of padded dims: it starts at zero and
/// stays there.
inline double largest_padding(const dist::ParameterRegistry& registry) {
  at::NoGradGuard no_grad;
  double largest = 0;
  for (const auto& p : registry.parameters()) {
    for (int d = 0; d < static_cast<int>(p.value.dim()); ++d) {
      const dist::Slice slice =
          p.slice_of_dim(d, registry.tp().rank(), registry.tp().size());
      if (slice.padded == slice.count) continue;
      const at::Tensor padding =
          p.value.narrow(d, slice.count, slice.padded - slice.count);
      largest = std::max(largest, padding.abs().max().item<double>());
    }
  }
  return largest;
}

/// `whole_tensors`, moved there.
inline std::map<std::string, at::Tensor> on_cpu(
    const dist::FlatBuckets& buckets,
    at::Tensor dist::Bucket::*flat) {
  auto tensors = whole_tensors(buckets, flat).tensors;
  for (auto& [name, tensor] : tensors) tensor = tensor.to(at::kCPU);
  return tensors;
}

/// Trains over `world`.
inline RunResult train_small(dist::Communicator& world, const SmallRun& run) {
  const ScratchFolder scratch;
  const auto train_tokens = make_tokens(scratch.path() / "train.bin", 1);
  const auto val_tokens = make_tokens(scratch.path() / "val.bin", 2);
  // One rank alone has nobody to move tensors of a GPU to.
  const auto alone = dist::make_self_communicator(run.device);
  const bool needs_one = run.device != at::kCPU && run.data == nullptr;
  dist::ProcessMesh mesh(world, 0, run.tp, needs_one ? alone.get() : run.data);
  mesh.set_deadline(std::chrono::seconds(60));
  dist::ParameterRegistry registry(mesh.tp(),
                                   run.dtype,
                                   run.device,
                                   /*decay_all=*/false,
                                   run.row_multiple);
  const Sharding sharding{run.plan, &mesh.tp()};
  auto shape = small_model(run.mlp, run.ranks);
  shape.mlp.recompute = run.recompute;
  const model::Gpt2 gpt2(shape, registry, sharding);
  const SpoiltModel model(gpt2, run);
  // Several buckets of each kind.
  dist::FlatBuckets buckets(
      registry,
      mesh,
      {.bytes = 4096,
       .align = run.align,
       .zero = run.zero,
       .whole_is_partial = sharding.region().tokens_cut()});
  run::TrainerConfig config;
  config.steps = run.steps;
  config.batch = run.batch;
  config.micro_batch = run.micro_batch;
  config.seed = 11;
  config.out = run.out;
  config.wire = run.wire;
  config.eval_windows = 7;
  config.checkpoint_minutes = run.checkpoint_minutes;
  config.peak_flops = run.peak_flops;
  config.log_every = 1 << 20;
  config.bad_step = run.bad_step;
  config.spike = run.spike;
  config.spike_window = run.spike_window;
  config.checkpoint_every = run.checkpoint_every;
  config.experts_every = run.experts_every;
  config.tensorboard = run.tensorboard;
  config.prometheus = run.prometheus;
  config.eval_every = run.eval_every;
  const data::TokenWindows train_windows(train_tokens,
                                         shape.context,
                                         config.seed);
  const data::TokenWindows val_windows(val_tokens, shape.context);
  run::ScheduleConfig schedule;
  schedule.lr = 3e-3;
  schedule.min_lr = 1e-3;
  schedule.warmup = 4;
  schedule.steps = 20;
  if (run.schedule) schedule = *run.schedule;
  const data::Order order(config.seed, train_windows.size());
  const auto sequence =
      run.sequence ? run.sequence(train_windows, order) : nullptr;
  train::TrainerParts parts{mesh, model, buckets, train_windows, val_windows};
  parts.sequence = sequence.get();
  parts.sample_text = run.sample_text;
  config.checkpoint_best = run.checkpoint_best;
  config.checkpoint_last = run.checkpoint_last;
  config.checkpoint_failure = run.checkpoint_failure;
  train::Trainer trainer(config, schedule, {}, parts);
  trainer.set_settings(run.settings);
  if (run.sparse_share) trainer.set_sparse_share(*run.sparse_share);
  if (run.resume) {
    trainer.resume(run.resume_from.empty()
                       ? *run::latest_checkpoint(run.out / "checkpoints")
                       : run.resume_from);
  } else if (!run.branch_from.empty()) {
    trainer.branch(run.branch_from);
  } else {
    buckets.initialise(config.seed);
  }
  RunResult result;
  if (run.out.empty()) {
    while (trainer.state().step < run.steps) {
      const train::StepReport report = trainer.step().value();
      result.losses.push_back(report.loss);
      if (result.losses.size() == 1) {
        result.first_gradients = on_cpu(buckets, &dist::Bucket::grad);
      }
      result.norms.push_back(report.grad_norm);
      result.hashes.push_back(report.samples_hash.value());
      result.gpu = report.gpu;
      result.experts.push_back(train::to_json(report.experts));
      if (report.active_share) {
        result.active_shares.push_back(*report.active_share);
      }
    }
    result.last_gradients = on_cpu(buckets, &dist::Bucket::grad);
  } else {
    trainer.run();
    result.val_loss = trainer.evaluation().value_or(train::Evaluation{}).loss;
  }
  buckets.await();
  result.state = trainer.state();
  result.largest_padding = largest_padding(registry);
  std::vector<at::Tensor> masters;
  for (const auto& [name, master] : on_cpu(buckets, &dist::Bucket::master)) {
    masters.push_back(master.flatten());
  }
  result.weights = at::cat(masters);
  return result;
}

}  // namespace mumoe::testing

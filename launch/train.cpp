#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <memory>
#include <numbers>

#include "base/cpu.h"
#include "data/prepare.h"
#include "data/tokenizer.h"
#include "dist/flat_buckets.h"
#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "launch/commands.h"
#include "launch/compute.h"
#include "launch/options.h"
#include "launch/run_directory.h"
#include "train/signals.h"
#include "train/trainer.h"

namespace mumoe::launch {
namespace {

using dist::Communicator;

/// The run's token files: made on rank 0, opened by all.
data::PreparedData open_data(const Options& options, Communicator& world) {
  const auto tokenizer = data::make_tokenizer(options.tokenizer);
  if (world.rank() != 0) world.barrier();
  data::PreparedData prepared = data::prepare(options.source, *tokenizer);
  if (world.rank() == 0) world.barrier();
  require(prepared.vocabulary <= options.model.vocab,
          "model.vocab = ", options.model.vocab, ": tokenizer ",
          prepared.tokenizer, " has ", prepared.vocabulary, " tokens");
  return prepared;
}

std::string start_table(const Options& options,
                        const data::PreparedData& prepared,
                        const dist::ParameterRegistry& registry,
                        const dist::ProcessMesh& mesh) {
  const auto& m = options.model;
  const std::string mlp =
      m.mlp == model::MlpKind::dense
          ? fmt::format("dense MLP {}", m.hidden)
          : fmt::format("CP of {} experts, rank {}", fmt::join(m.experts, "x"),
                        m.rank);
  return fmt::format(
      "model    GPT-2 {} x {}, {} heads, context {}, {}\n"
      "         {} parameters, {:.2f} MFLOP a token (forward and backward)\n"
      "data     {} ({}): {} training tokens, {} validation\n"
      "compute  {} on {}, {} data-parallel ranks, {} threads each",
      m.depth, m.width, m.heads, m.context, mlp, registry.global_numel(),
      model::flops_per_token(m) / 1e6, prepared.source, prepared.tokenizer,
      prepared.train.tokens, prepared.val.tokens,
      to_map(options).at("train.precision"),
      to_map(options).at("train.device"), mesh.dp().size(),
      at::get_num_threads());
}

void report(const train::Trainer& trainer, const data::PreparedData& prepared,
            const Options& options) {
  const double nats = trainer.val_loss().value_or(0) /
                      prepared.val.bytes_per_token();
  fmt::print("done: {} steps, validation loss {:.4f} nats/token, "
             "{:.4f} nats/byte, {:.4f} bits/byte",
             trainer.state().step, *trainer.val_loss(), nats,
             nats / std::numbers::ln2);
  if (!options.trainer.out.empty()) {
    fmt::print("; run directory {}", options.trainer.out.string());
  }
  fmt::print("\n");
}

}  // namespace

ExitCode train_command(const Invocation& invocation) {
  CommandLine line = read_command_line(invocation.arguments);
  if (line.print_config) {
    fmt::print("{}", to_config_text(line.options, &line.origins));
    return ExitCode::done;
  }
  Options& options = line.options;
  require(options.tp == 1, "parallel.tp = ", options.tp,
          ": this version has data parallelism only, expected 1");

  std::unique_ptr<Communicator> self;
  if (dist::MpiRuntime::launched_by_mpi()) {
    invocation.mpi.emplace();
  } else {
    self = dist::make_self_communicator(at::kCPU);
  }
  Communicator& world = self ? *self : invocation.mpi->world();
  dist::ProcessMesh mesh(world, options.dp, options.tp);
  mesh.set_deadline(std::chrono::milliseconds(
      static_cast<std::int64_t>(options.deadline * 1000)));

  const data::PreparedData prepared = open_data(options, world);
  const data::TokenFile train_tokens(prepared.train.path);
  const data::TokenFile val_tokens(prepared.val.path);

  const std::filesystem::path checkpoints =
      options.trainer.out / "checkpoints";
  const auto checkpoint = options.resume
                              ? train::latest_checkpoint(checkpoints)
                              : std::nullopt;
  require(!options.resume || checkpoint, "--train.resume: ",
          checkpoints.string(), " holds no checkpoint");
  train::RunState stored;
  if (checkpoint) {
    stored = train::read_run_state(*checkpoint);
    replay_choices(options, stored.settings);
  }
  const Compute compute = choose_compute(options, world);
  const auto settings = settings_that_matter(options, prepared);
  if (checkpoint) check_resumable(stored.settings, settings, *checkpoint);

  dist::ParameterRegistry registry(mesh.tp(), compute.dtype, compute.device);
  const model::Gpt2 model(options.model, registry);
  dist::FlatBuckets buckets(registry, kBucketBytes);
  options.trainer.peak_flops = measure_peak_flops(compute, world);
  const train::StopSignals signals;
  train::Trainer trainer(
      options.trainer, options.schedule, options.optimizer,
      {mesh, model, buckets, train_tokens, val_tokens,
       [&signals] { return signals.requested(); }});
  trainer.set_settings(settings);
  if (world.rank() == 0) {
    if (!options.trainer.out.empty()) {
      prepare_run_directory(options, prepared, mesh);
    }
    fmt::print("{}\n", start_table(options, prepared, registry, mesh));
  }
  if (checkpoint) {
    trainer.resume(*checkpoint);
    if (world.rank() == 0) {
      fmt::print("resumed at step {} from {}\n", trainer.state().step,
                 checkpoint->string());
    }
  } else {
    buckets.initialise(options.trainer.seed);
  }

  if (trainer.run() == train::Outcome::preempted) {
    if (world.rank() == 0) {
      fmt::print("stopped by a signal after step {}; go on with "
                 "--train.resume\n",
                 trainer.state().step);
    }
    return ExitCode::preempted;
  }
  if (world.rank() == 0) report(trainer, prepared, options);
  return ExitCode::done;
}

}  // namespace mumoe::launch

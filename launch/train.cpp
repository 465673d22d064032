#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

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
#include "launch/instruments.h"
#include "launch/null_run.h"
#include "launch/options.h"
#include "launch/run_directory.h"
#include "train/signals.h"
#include "train/trainer.h"

namespace mumoe::launch {
namespace {

using dist::Communicator;

/// The run's token files: fetched and made on rank 0, then opened by all. The
/// others wait as long as that takes; if it fails, rank 0 ends them.
data::PreparedData open_data(const Options& options, Communicator& world) {
  const auto deadline = world.deadline();
  world.set_deadline(std::chrono::milliseconds(0));
  if (world.rank() != 0) world.barrier();
  const auto tokenizer = data::make_tokenizer(options.tokenizer);
  data::PreparedData prepared = data::prepare(options.source, *tokenizer);
  if (world.rank() == 0) world.barrier();
  world.set_deadline(deadline);
  require(prepared.vocabulary <= options.model.vocab,
          "model.vocab = ",
          options.model.vocab,
          ": tokenizer ",
          prepared.tokenizer,
          " has ",
          prepared.vocabulary,
          " tokens");
  return prepared;
}

/// Where a resumed run goes on, and what it says of itself.
struct ResumePoint {
  std::filesystem::path checkpoint;
  train::RunState state;
};

/// Where to go on from, if the run resumes, after taking over what it chose
/// automatically.
std::optional<ResumePoint> find_resume_point(Options& options) {
  if (!options.resume) return std::nullopt;
  const auto folder = options.trainer.out / "checkpoints";
  const auto checkpoint = train::latest_checkpoint(folder);
  require(checkpoint.has_value(),
          "--train.resume: ",
          folder.string(),
          " holds no checkpoint");
  ResumePoint point{*checkpoint, train::read_run_state(*checkpoint)};
  replay_choices(options, point.state.settings);
  return point;
}

std::string start_table(const Options& options,
                        const data::PreparedData& prepared,
                        const dist::ParameterRegistry& registry,
                        const dist::ProcessMesh& mesh) {
  const auto& m = options.model;
  const auto values = to_map(options);
  const std::string mlp =
      m.mlp == model::MlpKind::dense
          ? fmt::format("dense MLPs of {}", m.hidden)
          : fmt::format("{} mixtures of {} experts, rank {}",
                        values.at("model.mlp"),
                        fmt::join(m.experts, " x "),
                        fmt::join(m.ranks, ", "));
  return fmt::format(
      "model    GPT-2, {} blocks of width {}, {} heads, context {}, {}\n"
      "         {} parameters, {:.1f} MFLOP a token, forward and backward\n"
      "data     {} as {}: {} training tokens, {} for validation\n"
      "compute  {} on {}, {} data-parallel ranks of {} threads, {}, fp32 by {}",
      m.depth,
      m.width,
      m.heads,
      m.context,
      mlp,
      registry.global_numel(),
      model::flops_per_token(m) / 1e6,
      prepared.source,
      prepared.tokenizer,
      prepared.train.tokens,
      prepared.val.tokens,
      values.at("train.precision"),
      values.at("train.device"),
      mesh.dp().size(),
      at::get_num_threads(),
      to_string(best_isa()),
      values.at("train.gemm"));
}

std::string final_line(const train::Trainer& trainer,
                       const data::PreparedData& prepared,
                       const Options& options) {
  std::string line = fmt::format("done: {} steps", trainer.state().step);
  if (const auto loss = trainer.val_loss()) {
    const double nats = *loss / prepared.val.bytes_per_token();
    line += fmt::format(
        ", validation loss {:.4f} nats/token, {:.4f} "
        "nats/byte, {:.4f} bits/byte",
        *loss,
        nats,
        nats / std::numbers::ln2);
  }
  if (!options.trainer.out.empty()) {
    line += "; run directory " + options.trainer.out.string();
  }
  return line;
}

/// The world of a run that MPI does not make: one rank, or one of many alone.
std::unique_ptr<Communicator> make_local_world(const Options& options,
                                               const Invocation& invocation) {
  const auto& mpi = invocation.mpi;
  if (options.parallel.backend == BackendChoice::null) {
    return make_null_world(options, mpi ? mpi->world().size() : 1);
  }
  return mpi ? nullptr : dist::make_self_communicator(at::kCPU);
}

ExitCode train(Options options, Communicator& world) {
  require(options.parallel.tp == 1,
          "parallel.tp = ",
          options.parallel.tp,
          ": this version has data parallelism only, expected 1");
  best_isa();  // refuses a bad MUMOE_ISA before anything is written
  world.set_deadline(std::chrono::milliseconds(
      static_cast<std::int64_t>(options.parallel.deadline * 1000)));
  Instruments instruments(options, world);
  dist::ProcessMesh mesh(world, options.parallel.dp, options.parallel.tp);
  instruments.observe(mesh);
  const auto say = [&](const std::string& line) {
    if (world.rank() == 0) fmt::print("{}\n", line);
  };

  const data::PreparedData prepared = open_data(options, world);
  const data::TokenFile train_tokens(prepared.train.path);
  const data::TokenFile val_tokens(prepared.val.path);
  const auto resumed = find_resume_point(options);
  const Compute compute = choose_compute(options, world);
  const auto settings = settings_that_matter(options, prepared);
  if (resumed) {
    check_resumable(resumed->state.settings, settings, resumed->checkpoint);
  }

  dist::ParameterRegistry registry(mesh.tp(),
                                   compute.dtype,
                                   compute.device,
                                   options.optimizer.decay_vectors);
  const model::Gpt2 model(options.model, registry);
  dist::FlatBuckets buckets(registry, kBucketBytes);
  options.trainer.peak_flops =
      measure_peak_flops(compute, options.model.gemm, world);
  const train::StopSignals signals;
  const bool alone = options.parallel.backend == BackendChoice::null;
  StepCosts costs;
  const auto check = instruments.after_step(buckets, mesh);
  train::Trainer trainer(options.trainer,
                         options.schedule,
                         options.optimizer,
                         {mesh,
                          model,
                          buckets,
                          train_tokens,
                          val_tokens,
                          [&signals] { return signals.requested(); },
                          [&](std::int64_t step) {
                            check(step);
                            costs.step_ended();
                          }});
  trainer.set_settings(settings);
  if (resumed) {
    trainer.resume(resumed->checkpoint);
  } else {
    buckets.initialise(options.trainer.seed);
  }
  if (world.rank() == 0) prepare_run_directory(options, prepared, mesh);
  say(start_table(options, prepared, registry, mesh));
  if (alone) {
    say(fmt::format("alone    {} runs: losses and sums over ranks mean nothing",
                    mesh.describe()));
  }
  if (resumed) {
    say(fmt::format("resumed after step {} from {}",
                    trainer.state().step,
                    resumed->checkpoint.string()));
  }

  const train::Outcome outcome = trainer.run();
  if (const auto line = instruments.finish(); !line.empty()) say(line);
  if (alone) say(costs.report(buckets));
  if (outcome == train::Outcome::preempted) {
    say(fmt::format("stopped by a signal after step {}; --train.resume goes on",
                    trainer.state().step));
    return ExitCode::preempted;
  }
  say(final_line(trainer, prepared, options));
  return ExitCode::done;
}

}  // namespace

ExitCode train_command(const Invocation& invocation) {
  const CommandLine line = read_command_line(invocation.arguments);
  const auto local = make_local_world(line.options, invocation);
  Communicator& world = local ? *local : invocation.mpi->world();
  if (!line.print_config) return train(line.options, world);
  if (world.rank() == 0) {
    fmt::print("{}", to_config_text(line.options, &line.origins));
  }
  return ExitCode::done;
}

}  // namespace mumoe::launch

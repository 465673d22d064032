#include <ATen/ATen.h>
#include <fmt/format.h>

#include <map>
#include <memory>
#include <numbers>

#include "base/cpu.h"
#include "data/text/prepare.h"
#include "data/text/token_windows.h"
#include "data/text/tokenizer.h"
#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "launch/commands.h"
#include "launch/compute.h"
#include "launch/equal_cpus.h"
#include "launch/memory.h"
#include "launch/null_run.h"
#include "launch/options.h"
#include "launch/plan_choice.h"
#include "launch/ranks.h"
#include "launch/run_directory.h"
#include "launch/same_run.h"
#include "launch/start_table.h"
#include "model/families.h"
#include "train/signals.h"
#include "train/trainer.h"

namespace mumoe::launch {
namespace {

using dist::Communicator;

// A corpus of many gigabytes over a slow network, tokenized; what takes longer
// is prepared beforehand (mumoe data).
constexpr std::chrono::hours kDataDeadline{1};

/// The run's token files: fetched and made on rank 0, then opened by all. The
/// others wait for that up to `kDataDeadline`; if it fails, rank 0 ends them.
data::PreparedData open_data(const Options& options, dist::ProcessMesh& mesh) {
  Communicator& world = mesh.world();
  const auto deadline = world.deadline();
  mesh.set_phase("data");
  world.set_deadline(kDataDeadline);
  if (world.rank() != 0) world.barrier();
  const auto tokenizer = data::make_tokenizer(options.tokenizer);
  data::PreparedData prepared = data::prepare(options.source, *tokenizer);
  world.set_deadline(deadline);
  // Rank 0 waits for ranks that wait for it: no longer without limit.
  if (world.rank() == 0) world.barrier();
  mesh.set_phase("start");
  require(prepared.vocabulary <= options.model.vocab,
          "model.vocab = {}: tokenizer {} has {} tokens",
          options.model.vocab,
          prepared.tokenizer,
          prepared.vocabulary);
  return prepared;
}

/// Where a resumed run goes on, and what it says of itself.
struct ResumePoint {
  std::filesystem::path checkpoint;
  train::RunState state;
  /// Of what it took over.
  std::vector<std::string> reasons;
};

/// Where to go on from, if the run resumes, after taking over what it chose
/// automatically. Throws `InputError` when there is nothing, or another thing
/// on some rank. Collective.
std::optional<ResumePoint> find_resume_point(Options& options,
                                             Communicator& world) {
  if (!options.resume) return std::nullopt;
  require(!options.trainer.out.empty(),
          "--train.resume: train.out is empty; expected the folder of the run");
  const auto folder = options.trainer.out / "checkpoints";
  const auto checkpoint = train::latest_checkpoint(folder);
  require_same_run(world,
                   {{"--train.resume: the newest checkpoint",
                     checkpoint ? checkpoint->string() : "none"}});
  require(checkpoint.has_value(),
          "--train.resume: {} holds no checkpoint",
          folder.string());
  ResumePoint point{*checkpoint, train::read_run_state(*checkpoint), {}};
  point.reasons = replay_choices(options, point.state.settings);
  return point;
}

/// Throws `InputError` when ranks have other files than rank 0, or would go on
/// from elsewhere. Collective.
void require_same_files(const data::PreparedData& prepared,
                        const std::optional<ResumePoint>& resumed,
                        Communicator& world) {
  Facts facts = {{"hash of train.bin", prepared.train.hash},
                 {"hash of val.bin", prepared.val.hash}};
  if (resumed) {
    facts["--train.resume: samples of the checkpoint"] =
        std::to_string(resumed->state.samples);
    for (const auto& [name, value] : resumed->state.settings) {
      facts["--train.resume: " + name + " of the checkpoint"] = value;
    }
  }
  require_same_run(world, facts);
}

/// Whether a rank was asked to stop before the first step. Collective.
bool stop_before_start(const train::StopSignals& signals, Communicator& world) {
  const at::Tensor stop = at::full({1}, signals.requested() ? 1 : 0, at::kLong);
  world.all_reduce(stop, dist::ReduceOp::max);
  return stop.item<std::int64_t>() > 0;
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

/// The settings that a checkpoint holds: those that a resumed run must share,
/// and those that it takes over where it has none.
std::map<std::string, std::string> with_layout(
    std::map<std::string, std::string> settings,
    const Options& options) {
  const auto values = to_map(options);
  for (const char* name : {"parallel.tp", "parallel.plan"}) {
    settings[name] = values.at(name);
  }
  return settings;
}

/// A line of the start table where tp cuts anything.
std::string describe_plan(const ChosenPlan& chosen,
                          const dist::ProcessMesh& mesh) {
  if (mesh.tp().size() == 1) return {};
  return fmt::format("plan     {}{}",
                     to_string(chosen.plan),
                     chosen.reason.empty() ? "" : " (" + chosen.reason + ")");
}

/// What a run settled by measuring, or took over.
struct Choices {
  Compute compute;
  ChosenPlan plan;
  /// Of checkpoints.
  std::map<std::string, std::string> settings;
};

/// Settles what `options` leave open. Throws `InputError` when the run does not
/// go on from `resumed`.
Choices settle(Options& options,
               const Ranks& ranks,
               const data::PreparedData& prepared,
               const std::optional<ResumePoint>& resumed,
               const std::string& unequal_cpus) {
  Communicator& world = ranks.mesh.world();
  Compute compute = choose_compute(options, world, ranks.chosen.device);
  if (resumed) compute.reasons = resumed->reasons;
  const auto settings = settings_that_matter(options, prepared);
  if (resumed) {
    check_resumable(resumed->state.settings, settings, resumed->checkpoint);
  }
  options.trainer.peak_flops = measure_peak_flops(options, compute, world);
  ChosenPlan plan = choose_plan(options,
                                ranks.mesh,
                                compute,
                                options.trainer.peak_flops,
                                unequal_cpus);
  return {compute, std::move(plan), with_layout(settings, options)};
}

/// Bytes of a checkpoint: masters and both moments of all parameters.
double checkpoint_bytes(const dist::ParameterRegistry& registry) {
  const double element = registry.master_dtype() == at::kDouble ? 8 : 4;
  return 3 * element * static_cast<double>(registry.global_numel());
}

/// Makes the run directory, on rank 0, and prints the start table. Collective.
void report_start(const Options& options,
                  const Ranks& ranks,
                  RunDirectory* directory,
                  const data::PreparedData& prepared,
                  const dist::ParameterRegistry& registry,
                  const Choices& chosen,
                  std::int64_t step) {
  const dist::ProcessMesh& mesh = ranks.mesh;
  const auto rows = gather_rows(mesh, ranks.hosts, ranks.chosen.device);
  std::vector<std::string> lines;
  if (directory != nullptr) {
    lines = directory->prepare({options,
                                prepared,
                                mesh,
                                ranks.hosts,
                                step,
                                checkpoint_bytes(registry)});
  }
  ranks.say(start_table(
      options,
      prepared,
      registry,
      chosen.compute.reasons,
      ranks.alone ? draw_alone(rows[0], mesh.describe()) : draw_mesh(rows)));
  ranks.say(describe_plan(chosen.plan, mesh));
  for (const auto& line : lines) ranks.say(line);
  if (ranks.alone) {
    ranks.say(
        "alone    losses and sums over ranks mean nothing; tok/s and mfu are "
        "of all ranks, if each took as long and none waited");
  }
}

std::string stopped_line(const train::Trainer& trainer,
                         const Options& options) {
  return fmt::format("stopped by a signal after step {}; {}",
                     trainer.state().step,
                     options.trainer.out.empty()
                         ? "train.out is empty: nothing was saved"
                         : "saved: --train.resume goes on");
}

ExitCode train(Options options,
               Communicator& world,
               const Invocation& invocation,
               MemoryUse& memory) {
  best_isa();  // refuses a bad MUMOE_ISA before anything is written
  train::StopSignals signals;
  world.set_deadline(deadline_of(options.parallel));
  require_same_run(world, to_map(options));
  Ranks ranks(options, world, invocation);
  ranks.say(ranks.chosen.note);
  dist::ProcessMesh& mesh = ranks.mesh;
  mesh.observe(memory);
  std::optional<RunDirectory> directory;
  if (world.rank() == 0) directory.emplace(options.trainer.out);
  const auto resumed = find_resume_point(options, world);
  const std::string unequal_cpus =
      ranks.chosen.device.is_cpu()
          ? find_unequal_cpus(mesh.world(), ranks.hosts.places())
          : "";
  require_layout(options, mesh, unequal_cpus);
  const auto micro_batch = train::BatchPlan::make(options.trainer.batch,
                                                  options.trainer.micro_batch,
                                                  mesh.dp().size())
                               .micro_batch;
  if (ranks.chosen.device.is_cpu()) {
    require_room(options, micro_batch, mesh.tp().size());
  }
  memory.settled(options, micro_batch, resumed ? resumed->state.step : 0);

  const data::PreparedData prepared = open_data(options, mesh);
  const data::TokenFile train_tokens(prepared.train.path);
  const data::TokenFile val_tokens(prepared.val.path);
  require_same_files(prepared, resumed, world);
  const std::int64_t context = options.model.context;
  const data::TokenWindows train_windows(train_tokens,
                                         context,
                                         options.trainer.seed);
  const data::TokenWindows val_windows(val_tokens, context);
  const Choices chosen =
      settle(options, ranks, prepared, resumed, unequal_cpus);

  dist::ParameterRegistry registry(mesh.tp(),
                                   chosen.compute.dtype,
                                   chosen.compute.device,
                                   options.optimizer.decay_vectors);
  const Sharding sharding{chosen.plan.plan, &mesh.tp()};
  const auto model =
      model::family(options.family).make(options.model, registry, sharding);
  dist::FlatBuckets buckets(
      registry,
      mesh,
      {.bytes = kBucketBytes,
       .zero = options.parallel.zero,
       .whole_is_partial = sharding.region().tokens_cut()});
  options.trainer.wire = options.parallel.wire;
  StepCosts costs;
  const auto check = ranks.instruments.after_step(buckets, mesh);
  train::Trainer trainer(options.trainer,
                         options.schedule,
                         options.optimizer,
                         {mesh,
                          *model,
                          buckets,
                          train_windows,
                          val_windows,
                          [&signals] { return signals.requested(); },
                          [&](std::int64_t step) {
                            check(step);
                            costs.step_ended();
                          }});
  trainer.set_settings(chosen.settings);
  if (resumed) {
    trainer.resume(resumed->checkpoint);
  } else {
    buckets.initialise(options.trainer.seed);
  }
  signals.saving();
  if (stop_before_start(signals, world)) {
    ranks.say("stopped by a signal before the first step: nothing was written");
    return ExitCode::preempted;
  }
  report_start(options,
               ranks,
               directory ? &*directory : nullptr,
               prepared,
               registry,
               chosen,
               trainer.state().step);
  if (resumed) {
    const auto step = trainer.state().step;
    ranks.say(
        fmt::format("resumed after step {} from {}{}",
                    step,
                    resumed->checkpoint.string(),
                    step < options.trainer.steps
                        ? ""
                        : fmt::format(": no step is left of train.steps = {}",
                                      options.trainer.steps)));
  }

  const bool preempted = trainer.run() == train::Outcome::preempted;
  ranks.say(ranks.instruments.finish());
  if (ranks.alone) ranks.say(costs.report(buckets));
  ranks.say(preempted ? stopped_line(trainer, options)
                      : final_line(trainer, prepared, options));
  return preempted ? ExitCode::preempted : ExitCode::done;
}

}  // namespace

ExitCode train_command(const Invocation& invocation) {
  const CommandLine line = read_command_line(invocation.arguments);
  const auto local = make_local_world(line.options, invocation);
  Communicator& world = local ? *local : invocation.mpi->world();
  if (!line.print_config) {
    MemoryUse memory;
    try {
      return train(line.options, world, invocation, memory);
    } catch (const std::exception& error) {
      memory.explain(error);
      throw;
    }
  }
  if (world.rank() == 0) {
    fmt::print("{}", to_config_text(line.options, &line.origins));
  }
  return ExitCode::done;
}

}  // namespace mumoe::launch

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "base/cpu.h"
#include "dist/gather_text.h"
#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "launch/commands.h"
#include "launch/end_line.h"
#include "launch/memory.h"
#include "launch/memory_fit.h"
#include "launch/memory_room.h"
#include "launch/null_run.h"
#include "launch/run_data.h"
#include "launch/same_run.h"
#include "launch/session.h"
#include "launch/settle.h"
#include "launch/start_point.h"
#include "launch/start_table.h"
#include "launch/text_sample.h"
#include "model/cost.h"
#include "model/families.h"
#include "run/agreed_errors.h"
#include "run/command_line.h"
#include "run/notes.h"
#include "run/options.h"
#include "run/resume.h"
#include "run/run_directory.h"
#include "train/any_rank.h"
#include "train/metrics.h"
#include "train/signals.h"
#include "train/time_limit.h"
#include "train/trainer.h"

namespace mumoe::launch {
namespace {

using dist::Communicator;

/// The world of a run that MPI does not make: one rank, or one of many alone.
std::unique_ptr<Communicator> make_local_world(const run::Options& options,
                                               const Invocation& invocation) {
  const auto& mpi = invocation.mpi;
  if (options.parallel.backend == run::BackendChoice::null) {
    return make_null_world(options, mpi ? mpi->world().size() : 1);
  }
  return mpi ? nullptr : dist::make_self_communicator(at::kCPU);
}

/// A run that is ready: all ranks have found everything they need.
struct Job {
  const run::CommandLine& line;
  Session& session;
  const StartPoint& start;
  const RunData& data;
  const Settled& settled;
  run::Settings settings;        ///< Of checkpoints.
  run::RunDirectory* directory;  ///< On rank 0.
  train::StopSignals& signals;
  train::TimeLimit& limit;  ///< On rank 0, whose clock decides for all.

  /// Of a stop, as rank 0 says it.
  std::string cause() const {
    return limit.stops() ? by_time(settled.options.trainer.max_minutes)
                         : kBySignal;
  }
};

/// Bytes of a checkpoint: masters and both moments of all parameters, and what
/// `ranks` of them write to rebuild them by.
double checkpoint_bytes(const dist::ParameterRegistry& registry,
                        int parity,
                        int ranks) {
  const double element = registry.master_dtype() == at::kDouble ? 8 : 4;
  const double state =
      3 * element * static_cast<double>(registry.global_numel());
  return parity == 0 ? state : state + state / std::max(ranks - 1, 1);
}

ModelSummary summary_of(const model::Model& model,
                        const dist::ParameterRegistry& registry,
                        const data::Samples& samples) {
  return {model.describe(),
          registry.global_numel(),
          model.cost(1, registry.device()).flops /
              static_cast<double>(samples.targets_per_sample())};
}

/// Makes the run directory, which it returns, and says the start. Collective.
std::filesystem::path report_start(const Job& job,
                                   const ModelSummary& model,
                                   double bytes_of_checkpoint,
                                   std::int64_t step,
                                   const std::vector<std::string>& memory) {
  const Session& session = job.session;
  const run::Options& options = job.settled.options;
  const dist::ProcessMesh& mesh = session.mesh;
  const auto rows = gather_rows(mesh, session.hosts, session.chosen.device);
  std::vector<std::string> lines;
  if (job.directory != nullptr) {
    if (options.resume != run::Resume::no) {
      train::require_metrics(options.trainer.out);
    }
    lines = job.directory->prepare({options,
                                    job.data.facts,
                                    mesh,
                                    session.hosts,
                                    step,
                                    bytes_of_checkpoint});
    const auto& path = job.directory->path();
    if (!path.empty()) session.log->open(path);
  }
  auto reasons = job.start.reasons;
  if (!job.settled.note.empty()) reasons.push_back(job.settled.note);
  const auto& chosen = job.settled.compute.reasons;
  reasons.insert(reasons.end(), chosen.begin(), chosen.end());
  const auto layout = train::describe_layout(session.chosen.device);
  reasons.insert(reasons.end(), layout.begin(), layout.end());
  session.say(describe_origin(job.line));
  session.say(start_table(
      options,
      job.data.facts,
      model,
      reasons,
      session.alone ? draw_alone(rows[0], mesh.describe()) : draw_mesh(rows)));
  for (const auto& note : run::notes_on(options, job.line.origins)) {
    session.say("note     " + note);
  }
  session.say(job.settled.plan.describe(mesh));
  for (const auto& line : memory) session.say(line);
  for (const auto& line : lines) session.say(line);
  if (session.alone) {
    session.say(
        "alone    losses and sums over ranks mean nothing; tok/s, mfu and sol "
        "are of all ranks, if each took as long and none waited");
  }
  if (job.start.checkpoint) {
    session.say(
        fmt::format("{} after step {} from {}{}",
                    run::branches(options) ? "branched" : "resumed",
                    step,
                    job.start.checkpoint->string(),
                    step < options.trainer.steps
                        ? ""
                        : fmt::format(": no step is left of train.steps = {}",
                                      options.trainer.steps)));
  } else if (job.line.options.resume == run::Resume::automatic) {
    session.say("resume   auto: no checkpoint is there, so from the start");
  }
  const auto out = job.directory ? job.directory->path().string() : "";
  return dist::gather_text(mesh.control(), out)[0];
}

model::Cost cost_in(const Job& job,
                    const model::Model& model,
                    const dist::FlatBuckets& buckets) {
  return model::cost_of(model,
                        buckets.layout(),
                        job.settled.batch.micro_batch,
                        buckets.registry().device(),
                        job.settled.options.trainer.wire);
}

/// What the start table says of memory. Collective.
std::vector<std::string> memory_of(const Job& job,
                                   const model::Cost& cost,
                                   double bytes_of_checkpoint,
                                   const Room& before) {
  const Session& session = job.session;
  const Settled& settled = job.settled;
  const run::Options& options = settled.options;
  auto estimate = study::estimate_memory(
      cost,
      model::family(options.family).workspace(options.model),
      settled.batch.micro_batch,
      session.mesh.tp().size(),
      settled.compute.dtype,
      settled.compute.device.is_cpu(),
      before.program);
  // A GPU's ranks write from their host's memory either way.
  if (options.trainer.checkpoint_async || !settled.compute.device.is_cpu()) {
    estimate.saving = bytes_of_checkpoint / session.mesh.shape().ranks();
  }
  return memory_lines(estimate,
                      before.available,
                      settled.compute.device,
                      session.mesh,
                      session.hosts,
                      session.alone);
}

/// Those of the checkpoint, or those of the start. Collective.
void set_weights(const Job& job,
                 train::Trainer& trainer,
                 dist::FlatBuckets& buckets) {
  const std::uint64_t seed = job.settled.options.trainer.seed;
  if (job.start.checkpoint) {
    const auto& checkpoint = *job.start.checkpoint;
    run::branches(job.settled.options) ? trainer.branch(checkpoint)
                                       : trainer.resume(checkpoint);
    if (run::change_samples(job.start.forced)) trainer.take_other_samples();
  } else if (job.start.from) {
    const run::OpenedWeights& from = *job.start.from;
    std::vector<std::string> notes;
    run::agree_on_damage(job.session.mesh.control(), from.origin, [&] {
      notes = run::import_weights(from, buckets, seed);
    });
    for (const auto& note : notes) job.session.say("note     " + note);
    for (const auto& line : from.file->rebuilt()) job.session.say(line);
  } else if (job.session.alone) {
    buckets.initialise_alone(seed);
  } else {
    buckets.initialise(seed);
  }
}

/// Builds the model and trains it. Collective.
ExitCode run_steps(const Job& job) {
  const run::Options& options = job.settled.options;
  Session& session = job.session;
  dist::ProcessMesh& mesh = session.mesh;
  const at::Device device = job.settled.compute.device;
  const Room before(device);
  require_fit(options, job.settled.batch, session);
  dist::ParameterRegistry registry(mesh.tp(),
                                   job.settled.compute.dtype,
                                   device,
                                   options.optimizer.decay_vectors,
                                   train::row_multiple(device));
  const Sharding sharding{job.settled.plan.plan, &mesh.tp()};
  const auto model = model::family(options.family)
                         .make(options.model,
                               registry,
                               sharding,
                               train::batch_group(mesh, sharding));
  dist::FlatBuckets buckets(
      registry,
      mesh,
      train::bucket_options(options.parallel, sharding, device));
  StepCosts costs;
  const auto check = session.after_step(buckets);
  const auto stop_requested = [&job] {
    return job.signals.requested() || job.limit.reached();
  };
  train::Trainer trainer(options.trainer,
                         options.schedule,
                         options.optimizer,
                         {mesh,
                          *model,
                          buckets,
                          *job.data.train,
                          *job.data.val,
                          stop_requested,
                          [&](std::int64_t step) {
                            check(step);
                            costs.step_ended();
                          },
                          [&](const auto& line) { session.log->keep(line); },
                          job.data.facts.target,
                          job.data.sequence.get(),
                          [&job](double seconds) { job.limit.saved(seconds); },
                          text_sampler(*model, options)});
  trainer.set_settings(job.settings);
  trainer.set_sparse_share(job.settled.sparse_share);
  set_weights(job, trainer, buckets);
  job.signals.saving();
  if (train::any_rank(stop_requested(), mesh.control())) {
    session.say(stopped_early_line(job.cause()));
    return ExitCode::preempted;
  }
  const auto cost = cost_in(job, *model, buckets);
  const auto out = report_start(
      job,
      summary_of(*model, registry, *job.data.train),
      checkpoint_bytes(registry,
                       options.trainer.checkpoint_parity,
                       mesh.shape().ranks()),
      trainer.state().step,
      memory_of(job, cost, checkpoint_bytes(registry, 0, 1), before));
  trainer.write_to(out);

  const bool preempted = trainer.run() == train::Outcome::preempted;
  session.say(session.finish_trace());
  if (session.alone) session.say(costs.report(cost, device));
  session.say(preempted ? stopped_line(job.cause(),
                                       trainer.state().step,
                                       options.trainer.steps,
                                       out)
                        : done_line(trainer.state().step,
                                    trainer.evaluation(),
                                    job.data.facts,
                                    out));
  return preempted ? ExitCode::preempted : ExitCode::done;
}

ExitCode train(const run::CommandLine& line,
               Communicator& world,
               const Invocation& invocation,
               MemoryUse& memory) {
  const run::Options& asked = line.options;
  best_isa();  // refuses a bad MUMOE_ISA before anything is written
  MUMOE_CHECK(invocation.signals);
  world.set_deadline(deadline_of(asked.parallel));
  require_same_run(world, run::to_map(asked));
  train::TimeLimit limit(world.rank() == 0 ? asked.trainer.max_minutes : 0,
                         train::process_began());
  Session session(asked, world, invocation);
  dist::ProcessMesh& mesh = session.mesh;
  mesh.observe(memory);
  mesh.observe(limit);
  std::optional<run::RunDirectory> directory;
  if (world.rank() == 0) {
    directory.emplace(asked.trainer.out, numbered_out(line));
  }
  // Damage shows when it is read: before anything is written.
  return run::past_damage([&](const run::Damage& known) {
    StartPoint start = find_start(asked, world, known);
    const bool on_cpu = session.chosen.device.is_cpu();
    const std::string unequal_cpus =
        on_cpu ? find_unequal_cpus(mesh.control(), session.hosts.places()) : "";
    const auto batch = require_layout(start.options, mesh, unequal_cpus);
    if (on_cpu)
      require_room(start.options, batch.micro_batch, mesh.tp().size());
    memory.settled(start.options, batch.micro_batch, start.state.step);

    const RunData data = open_run_data(start.options, mesh);
    start.options = run::with_steps(start.options, data.train->size());
    // Measuring takes products of the model's own sizes.
    require_fit(start.options, batch, session);
    const Settled settled = settle(start.options, session, batch, unequal_cpus);
    const auto settings = run::settings_of(settled.options, data.facts);
    if (start.checkpoint) {
      start.forced = require_resumable(start, settings, world);
    }
    return run_steps({line,
                      session,
                      start,
                      data,
                      settled,
                      settings,
                      directory ? &*directory : nullptr,
                      *invocation.signals,
                      limit});
  });
}

}  // namespace

ExitCode train_command(const Invocation& invocation) {
  const auto line = run::read_run(invocation.arguments);
  const auto local = make_local_world(line.options, invocation);
  Communicator& world = local ? *local : invocation.mpi->world();
  if (!line.print_config) {
    MemoryUse memory;
    try {
      return train(line, world, invocation, memory);
    } catch (const InputError& error) {
      throw run::with_origins(error, line.origins);
    } catch (const std::exception& error) {
      memory.explain(error);
      throw;
    }
  }
  if (world.rank() == 0) {
    fmt::print("{}", run::to_config_text(line.options, &line.origins));
  }
  return ExitCode::done;
}

}  // namespace mumoe::launch

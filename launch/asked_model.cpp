#include "launch/asked_model.h"

#include <cstdio>
#include <map>

#include "dist/self_communicator.h"
#include "launch/plan_choice.h"
#include "launch/same_run.h"
#include "model/families.h"
#include "run/agreed_errors.h"
#include "run/damage.h"
#include "train/parameter_layout.h"

namespace mumoe::launch {
namespace {

/// The settings with which the model of `opened` is laid over `ranks` ranks.
run::Options options_here(const run::RunOnDisk& opened,
                          const run::CommandLine& line,
                          const std::string& command,
                          bool whole_tokens,
                          int ranks) {
  run::Options options = opened.options;
  options.parallel = line.options.parallel;
  require(options.parallel.backend != run::BackendChoice::null,
          "{}: parallel.backend = null computes nothing; expected auto, mpi or "
          "nccl",
          command);
  options.device = run::DeviceKind::automatic;
  options.trace.clear();
  // Nothing is trained: a plan that repeats work is as good as any, and images
  // come in batches that need not divide.
  const int tp = options.parallel.tp;
  const bool images =
      model::family(options.family).learns_from != model::LearnsFrom::tokens;
  const bool divides = !images && tp > 0 && options.model.context % tp == 0;
  auto& plan = options.parallel.plan;
  if (!line.origins.contains("parallel.plan")) plan.reset();
  if ((images || whole_tokens) && plan == Plan::sequence) plan.reset();
  if (!plan) {
    plan = divides && !whole_tokens ? Plan::sequence : Plan::bottleneck;
  }
  // Of what a step holds nothing is left but one sample a rank.
  options.trainer.batch = ranks;
  options.trainer.micro_batch = 1;
  return options;
}

}  // namespace

AskedModel::AskedModel(const std::string& command,
                       const run::RunOnDisk& opened,
                       const Settled& settled,
                       Session& session)
    : registry_(session.mesh.tp(),
                settled.compute.dtype,
                settled.compute.device,
                /*decay_all=*/false,
                train::row_multiple(settled.compute.device)),
      sharding_{settled.plan.plan, &session.mesh.tp()},
      model_(model::family(settled.options.family)
                 .make(settled.options.model,
                       registry_,
                       sharding_,
                       train::batch_group(session.mesh, sharding_))),
      buckets_(registry_,
               session.mesh,
               train::bucket_options(settled.options.parallel,
                                     sharding_,
                                     settled.compute.device)),
      loaded_(run::load_checkpoint(opened.checkpoint,
                                   buckets_,
                                   {},
                                   session.mesh.control())) {
  if (session.mesh.control().rank() != 0) return;
  // Not before it is read: that it is taken may be wrong.
  for (const auto& lines : {opened.notes, loaded_.rebuilt}) {
    for (const auto& line : lines) {
      std::fprintf(stderr, "%s: %s\n", command.c_str(), line.c_str());
    }
  }
}

std::optional<FactsOutput> open_output(const Invocation& invocation,
                                       const run::CommandLine& line) {
  const auto& mpi = invocation.mpi;
  if (mpi && mpi->world().rank() != 0) return std::nullopt;
  return std::make_optional<FactsOutput>(line);
}

ExitCode ask_run(const Invocation& invocation,
                 const run::CommandLine& line,
                 const std::string& command,
                 bool whole_tokens,
                 const std::function<void(AskedRun&)>& ask,
                 const std::function<void(run::Options&)>& change) {
  const std::string name = line.text("run", "");
  require(!name.empty(), "{}: --run FOLDER is missing", command);
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto& mpi = invocation.mpi;
  dist::Communicator& world = mpi ? mpi->world() : *self;
  world.set_deadline(deadline_of(line.options.parallel));
  Facts facts = run::to_map(line.options);
  facts.insert(line.own.begin(), line.own.end());
  require_same_run(world, facts);
  return run::past_damage([&](const run::Damage& known) {
    run::RunOnDisk opened;
    run::agree_on_errors(world, [&] {
      opened = run::open_run(name, line.text("checkpoint", ""), known);
    });
    Facts found = run::to_map(opened.options);
    found["the checkpoint"] = opened.checkpoint.string();
    require_same_run(world, found);
    auto options =
        options_here(opened, line, command, whole_tokens, world.size());
    if (change) change(options);
    Session session(options, world, invocation);
    const auto batch =
        require_layout(options, session.mesh, /*unequal_cpus=*/"");
    const Settled settled = settle_evaluation(options, session, batch);
    if (!settled.note.empty() && world.rank() == 0) {
      std::fprintf(stderr, "%s: %s\n", command.c_str(), settled.note.c_str());
    }
    AskedModel asked(command, opened, settled, session);
    AskedRun run{opened, settled, session, asked};
    ask(run);
    return ExitCode::done;
  });
}

}  // namespace mumoe::launch

#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "launch/commands.h"
#include "launch/eval_report.h"
#include "launch/eval_scores.h"
#include "launch/plan_choice.h"
#include "launch/same_run.h"
#include "launch/session.h"
#include "launch/settle.h"
#include "launch/show_facts.h"
#include "model/families.h"
#include "run/agreed_errors.h"
#include "run/command_line.h"
#include "run/damage.h"
#include "run/load_checkpoint.h"
#include "run/run_directory.h"

namespace mumoe::launch {
namespace {

namespace fs = std::filesystem;
using dist::Communicator;

EvalRequest read_request(const run::CommandLine& line) {
  EvalRequest request{.run = line.text("run", ""),
                      .data = line.text("data", ""),
                      .choices = line.text("choices", ""),
                      .json = line.text("json", "")};
  require(!request.run.empty(), "mumoe eval: --run FOLDER is missing");
  const bool counted = line.own.contains("windows");
  request.wants_data =
      line.own.contains("data") || counted || request.choices.empty();
  if (counted && line.text("windows", "") != "all") {
    request.windows = line.number("windows", std::int64_t{0}, std::int64_t{1});
  }
  for (const char* name : {"data", "choices", "json"}) {
    require(!line.own.contains(name) || !line.text(name, "").empty(),
            "--{} : expected a name behind it",
            name);
  }
  return request;
}

/// The settings with which the model of `opened` is laid over the ranks that
/// evaluate it.
run::Options options_here(const run::RunOnDisk& opened,
                          const run::CommandLine& line,
                          int ranks) {
  run::Options options = opened.options;
  options.parallel = line.options.parallel;
  require(options.parallel.backend != run::BackendChoice::null,
          "mumoe eval: parallel.backend = null computes nothing; expected "
          "auto, mpi or nccl");
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
  if (images && plan == Plan::sequence) plan.reset();
  if (!plan) plan = divides ? Plan::sequence : Plan::bottleneck;
  // Of what a step holds nothing is left but one sample a rank.
  options.trainer.batch = ranks;
  options.trainer.micro_batch = 1;
  return options;
}

/// Builds the model of `opened` over the ranks, and scores what is asked for.
/// Collective.
EvalReport evaluate(const EvalRequest& request,
                    const run::RunOnDisk& opened,
                    const Settled& settled,
                    Session& session) {
  const run::Options& options = settled.options;
  const at::Device device = settled.compute.device;
  dist::ProcessMesh& mesh = session.mesh;
  dist::ParameterRegistry registry(mesh.tp(),
                                   settled.compute.dtype,
                                   device,
                                   /*decay_all=*/false,
                                   train::row_multiple(device));
  const Sharding sharding{settled.plan.plan, &mesh.tp()};
  const auto model = model::family(options.family)
                         .make(options.model,
                               registry,
                               sharding,
                               train::batch_group(mesh, sharding));
  dist::FlatBuckets buckets(
      registry,
      mesh,
      train::bucket_options(options.parallel, sharding, device));
  const run::Loaded loaded =
      run::load_checkpoint(opened.checkpoint, buckets, {}, mesh.control());
  // Not before it is read: that it is taken may be wrong.
  for (const auto& lines : {opened.notes, loaded.rebuilt}) {
    for (const auto& line : lines) {
      if (mesh.control().rank() == 0)
        std::fprintf(stderr, "mumoe eval: %s\n", line.c_str());
    }
  }
  const EvalJob job{request, session, settled, *model};
  EvalReport report{.run = request.run,
                    .checkpoint = opened.checkpoint,
                    .step = loaded.state.step,
                    .model = model->describe()};
  const bool images =
      model::family(options.family).learns_from != model::LearnsFrom::tokens;
  require(!images || request.choices.empty(),
          "--choices {}: the model of {} knows images; expected one of text",
          request.choices.string(),
          request.run.string());
  if (request.wants_data && images) report.images = score_images(job);
  if (request.wants_data && !images) report.text = score_text(job);
  if (!request.choices.empty()) report.choices = score_choices(job);
  return report;
}

}  // namespace

std::vector<run::OwnOption> eval_options() {
  return {
      {"run", "FOLDER", "a run directory", "out model ckpt out_dir"},
      {"checkpoint",
       "WHICH",
       "best, or the number of a step [the newest]",
       "step which"},
      {"data",
       "SOURCE",
       "a token file, all of it; or what data.source may be, texts or images, "
       "its part for validation [the run's]",
       "dataset val_data input_val_bin"},
      {"windows",
       "N",
       "windows of the text, or images, spread evenly; all: every one [all]",
       "eval_windows eval_iters n images"},
      {"choices",
       "FILE",
       "questions, one a line: {\"ctx\" or \"question\": TEXT, \"endings\": "
       "[TEXT, ...], \"label\": N}, as HellaSwag's",
       "hellaswag tasks"},
      {"json",
       "FILE",
       "where to write the result, - for stdout, without the table",
       "output out_json output_path"}};
}

ExitCode eval_command(const Invocation& invocation) {
  const run::CommandLine line =
      run::read_command_line(invocation.arguments, "parallel", eval_options());
  const EvalRequest request = read_request(line);
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto& mpi = invocation.mpi;
  Communicator& world = mpi ? mpi->world() : *self;
  world.set_deadline(deadline_of(line.options.parallel));
  Facts facts = run::to_map(line.options);
  facts.insert(line.own.begin(), line.own.end());
  require_same_run(world, facts);

  return run::past_damage([&](const run::Damage& known) {
    run::RunOnDisk opened;
    run::agree_on_errors(world, [&] {
      opened = run::open_run(request.run, line.text("checkpoint", ""), known);
    });
    Facts found = run::to_map(opened.options);
    found["the checkpoint"] = opened.checkpoint.string();
    require_same_run(world, found);
    const auto options = options_here(opened, line, world.size());
    Session session(options, world, invocation);
    const auto batch =
        require_layout(options, session.mesh, /*unequal_cpus=*/"");
    const Settled settled = settle_evaluation(options, session, batch);
    if (!settled.note.empty() && world.rank() == 0) {
      std::fprintf(stderr, "mumoe eval: %s\n", settled.note.c_str());
    }
    std::optional<FactsOutput> output;  // of rank 0
    if (world.rank() == 0) output.emplace(request.json);
    const auto report = evaluate(request, opened, settled, session);
    if (output) {
      output->show([&] { return report.table() + "\n"; },
                   [&] { return report.json(); });
    }
    return ExitCode::done;
  });
}

}  // namespace mumoe::launch

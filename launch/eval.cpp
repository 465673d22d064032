#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "base/file.h"
#include "data/order.h"
#include "data/text/choices.h"
#include "data/text/token_file.h"
#include "data/text/token_windows.h"
#include "data/text/tokenizer.h"
#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "launch/commands.h"
#include "launch/eval_report.h"
#include "launch/plan_choice.h"
#include "launch/run_data.h"
#include "launch/same_run.h"
#include "launch/session.h"
#include "launch/settle.h"
#include "model/families.h"
#include "run/checkpoint.h"
#include "run/command_line.h"
#include "run/run_directory.h"

namespace mumoe::launch {
namespace {

namespace fs = std::filesystem;
using dist::Communicator;

// Tokens that go through the model together, the same on any number of ranks.
constexpr std::int64_t kTokens = 4096;
constexpr std::int64_t kTokensOnGpu = 32768;
// Lengths of rows of choices are multiples of it.
constexpr std::int64_t kLengthStep = 16;

/// What the command line asks for.
struct Request {
  fs::path run;
  std::string data;
  bool wants_text = false;
  std::optional<std::int64_t> windows = {};  ///< None: all.
  fs::path choices;
  std::string json;  ///< A file; "-": stdout; empty: none.
};

Request read_request(const run::CommandLine& line) {
  Request request{.run = line.text("run", ""),
                  .data = line.text("data", ""),
                  .choices = line.text("choices", ""),
                  .json = line.text("json", "")};
  require(!request.run.empty(), "mumoe eval: --run FOLDER is missing");
  const bool counted = line.own.contains("windows");
  request.wants_text =
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
  // Nothing is trained: a plan that repeats work is as good as any.
  const int tp = options.parallel.tp;
  const bool asked = line.origins.contains("parallel.plan");
  if (!asked || !options.parallel.plan) {
    const bool divides = tp > 0 && options.model.context % tp == 0;
    options.parallel.plan = divides ? Plan::sequence : Plan::bottleneck;
  }
  // Of what a step holds nothing is left but one sample a rank.
  options.trainer.batch = ranks;
  options.trainer.micro_batch = 1;
  return options;
}

/// An evaluation that is ready to begin.
struct Job {
  const Request& request;
  Session& session;
  const Settled& settled;
  const model::LanguageModel& model;
  const data::Tokenizer& tokenizer;

  train::Scorer scorer() const {
    return {session.mesh, settled.compute.device};
  }
  std::int64_t tokens_at_once() const {
    return settled.compute.device.is_cuda() ? kTokensOnGpu : kTokens;
  }
};

/// A text in windows.
struct Text {
  std::string source;
  std::string part;
  std::string hash;
  std::optional<data::TokenFile> file = {};
  std::optional<RunData> data = {};
  std::unique_ptr<data::Samples> windows = {};
};

/// The text that `request` or the run names. Collective.
std::unique_ptr<Text> open_text(const Job& job) {
  const std::string& asked = job.request.data;
  run::Options options = job.settled.options;
  std::error_code error;
  auto text = std::make_unique<Text>();
  if (fs::is_regular_file(asked, error)) {
    text->source = asked;
    text->part = "all";
    const auto& file = text->file.emplace(asked);
    file.check_vocabulary(job.tokenizer.vocabulary());
    text->hash = file.hash();
    require_same_run(job.session.mesh.control(),
                     {{"hash of " + asked, text->hash}});
    text->windows =
        std::make_unique<data::TokenWindows>(file, job.model.context());
    return text;
  }
  if (!asked.empty()) options.source = asked;
  const auto& data = text->data.emplace(options, job.session.mesh);
  text->source = data.prepared.source;
  text->part = "validation";
  text->hash = data.prepared.val.hash;
  text->windows = data.validation(options);
  return text;
}

TextScore score_text(const Job& job) {
  const auto text = open_text(job);
  const data::Samples& samples = *text->windows;
  const std::int64_t context = samples.targets_per_sample();
  const auto all = static_cast<std::int64_t>(samples.size());
  const auto windows =
      data::evaluation_samples(samples.size(),
                               job.request.windows.value_or(all));
  const auto at_once =
      std::max<std::int64_t>(1, job.tokens_at_once() / context);
  return {.source = text->source,
          .part = text->part,
          .hash = text->hash,
          .tokenizer = std::string(job.tokenizer.name()),
          .context = context,
          .windows = static_cast<std::int64_t>(windows.size()),
          .windows_of_all = all,
          .score = train::score_windows(job.scorer(),
                                        job.model,
                                        samples,
                                        windows,
                                        at_once,
                                        data::bytes_of_ids(job.tokenizer))};
}

ChoicesScore score_choices(const Job& job) {
  const fs::path& file = job.request.choices;
  const dist::ProcessMesh& mesh = job.session.mesh;
  // Rows are cut by tokens over tp under the plan sequence.
  const std::int64_t multiple =
      std::lcm(kLengthStep, static_cast<std::int64_t>(mesh.tp().size()));
  const data::ChoiceRows rows(file,
                              job.tokenizer,
                              job.model.context(),
                              multiple);
  require_same_run(
      mesh.control(),
      {{"hash of " + file.string(), data::hash_hex(read_file(file))}});
  return {
      file,
      train::score_choices(job.scorer(), job.model, rows, job.tokens_at_once()),
      rows.cut()};
}

/// Where rank 0 says what was found.
class Output {
 public:
  /// `name` as of `Request::json`. What cannot be written is found now.
  Output(const std::string& name, const Session& session) : session_(session) {
    if (session.mesh.control().rank() != 0) return;
    if (name == "-") alone_ = true;
    if (!name.empty() && !alone_) file_.emplace(name);
  }

  void tell(const EvalReport& report) {
    if (session_.mesh.control().rank() != 0) return;
    if (alone_) {
      fmt::print("{}", report.json());
      std::fflush(stdout);
      return;
    }
    session_.say(report.table());
    if (!file_) return;
    file_->write(report.json());
    file_->commit();
  }

 private:
  const Session& session_;
  std::optional<AtomicFile> file_;
  bool alone_ = false;  ///< Nothing but JSON goes to stdout.
};

/// Builds the model of `opened` over the ranks, and scores what is asked for.
/// Collective.
EvalReport evaluate(const Request& request,
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
                                   row_multiple(device));
  const Sharding sharding{settled.plan.plan, &mesh.tp()};
  const auto made =
      model::family(options.family).make(options.model, registry, sharding);
  const auto* model = dynamic_cast<const model::LanguageModel*>(made.get());
  require(model != nullptr,
          "{}: model.family = {} is no model of text; expected one that is",
          request.run.string(),
          options.family);
  dist::FlatBuckets buckets(registry,
                            mesh,
                            bucket_options(options.parallel, sharding, device));
  const auto state = run::load_checkpoint(opened.checkpoint, buckets);
  const auto tokenizer = data::make_tokenizer(options.tokenizer);
  const Job job{request, session, settled, *model, *tokenizer};
  EvalReport report{.run = request.run,
                    .checkpoint = opened.checkpoint,
                    .step = state.step,
                    .model = model->describe()};
  if (request.wants_text) report.text = score_text(job);
  if (!request.choices.empty()) report.choices = score_choices(job);
  return report;
}

}  // namespace

std::vector<run::OwnOption> eval_options() {
  return {
      {"run", "FOLDER", "a run directory", "out model ckpt checkpoint out_dir"},
      {"data",
       "SOURCE",
       "a token file, all of it; or what data.source may be, its part for "
       "validation [the run's]",
       "dataset val_data input_val_bin"},
      {"windows",
       "N",
       "windows of the text, spread evenly; all: every one [all]",
       "eval_windows eval_iters n"},
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
  const Request request = read_request(line);
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto& mpi = invocation.mpi;
  Communicator& world = mpi ? mpi->world() : *self;
  world.set_deadline(deadline_of(line.options.parallel));
  Facts facts = run::to_map(line.options);
  facts.insert(line.own.begin(), line.own.end());
  require_same_run(world, facts);

  const run::RunOnDisk opened = run::open_run(request.run);
  Facts found = run::to_map(opened.options);
  found["the newest checkpoint"] = opened.checkpoint.string();
  require_same_run(world, found);
  const auto options = options_here(opened, line, world.size());
  Session session(options, world, invocation);
  for (const auto& note : opened.notes) {
    if (world.rank() == 0)
      std::fprintf(stderr, "mumoe eval: %s\n", note.c_str());
  }
  const auto batch = require_layout(options, session.mesh, /*unequal_cpus=*/"");
  const Settled settled = settle_evaluation(options, session, batch);
  if (!settled.note.empty() && world.rank() == 0) {
    std::fprintf(stderr, "mumoe eval: %s\n", settled.note.c_str());
  }
  Output output(request.json, session);
  output.tell(evaluate(request, opened, settled, session));
  return ExitCode::done;
}

}  // namespace mumoe::launch

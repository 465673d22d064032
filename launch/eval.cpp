#include <optional>
#include <utility>

#include "launch/asked_model.h"
#include "launch/commands.h"
#include "launch/eval_report.h"
#include "launch/eval_scores.h"
#include "launch/show_facts.h"
#include "model/families.h"
#include "run/command_line.h"

namespace mumoe::launch {
namespace {

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

/// Scores what is asked for. Collective.
EvalReport evaluate(const EvalRequest& request, AskedRun& run) {
  const model::Model& model = run.asked.model();
  const EvalJob job{request, run.session, run.settled, model};
  EvalReport report{.run = request.run,
                    .checkpoint = run.opened.checkpoint,
                    .step = run.asked.step(),
                    .model = model.describe()};
  const bool text = model::family(run.settled.options.family).learns_from ==
                    model::LearnsFrom::tokens;
  require(text || request.choices.empty(),
          "--choices {}: the model of {} knows images; expected one of text",
          request.choices.string(),
          request.run.string());
  if (request.wants_data && !text) report.images = score_images(job);
  if (request.wants_data && text) report.text = score_text(job);
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
  auto output = open_output(invocation, line);
  const auto ask = [&](AskedRun& run) {
    const EvalReport report = evaluate(request, run);
    if (!output) return;
    output->show([&] { return report.table() + "\n"; },
                 [&] { return report.json(); });
  };
  return ask_run(invocation, line, "mumoe eval", /*whole_tokens=*/false, ask);
}

}  // namespace mumoe::launch

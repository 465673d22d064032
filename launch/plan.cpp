#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/terminal.h"
#include "launch/commands.h"
#include "launch/memory_room.h"
#include "launch/named_machine.h"
#include "launch/plan_report.h"
#include "launch/show_facts.h"
#include "run/command_line.h"
#include "study/predict/own_predictor.h"
#include "study/predict/own_runs.h"
#include "study/predict/planner.h"
#include "study/scale/process.h"

namespace mumoe::launch {
namespace {

/// What was given of the layout; all else is looked for.
study::WantedLayout wanted_layout(const run::CommandLine& line) {
  const run::Options& options = line.options;
  const auto given = [&](const char* key) {
    return run::is_given(key, line.origins);
  };
  study::WantedLayout wanted;
  if (given("parallel.dp") && options.parallel.dp > 0) {
    wanted.dp = options.parallel.dp;
  }
  if (given("parallel.tp")) wanted.tp = options.parallel.tp;
  if (given("parallel.plan")) wanted.plan = options.parallel.plan;
  if (given("parallel.zero")) wanted.zero = options.parallel.zero;
  if (given("train.micro_batch") && options.trainer.micro_batch > 0) {
    wanted.micro_batch = options.trainer.micro_batch;
  }
  if (given("train.recompute")) wanted.recompute = options.model.recompute;
  wanted.tp_across_nodes = options.parallel.tp_across_hosts;
  return wanted;
}

/// The words of the command line that are keys of the run.
std::string given_keys(const run::CommandLine& line) {
  static const std::set<std::string> of_layout = {"parallel.dp",
                                                  "parallel.tp",
                                                  "parallel.plan",
                                                  "parallel.zero",
                                                  "train.micro_batch",
                                                  "train.recompute"};
  std::vector<std::string> words;
  if (!line.config.empty()) words = {"--config", line.config.string()};
  const auto values = run::to_map(line.options);
  for (const auto& [key, origin] : line.origins) {
    const auto value = values.find(key);
    if (!run::is_given(key, line.origins) || of_layout.contains(key) ||
        value == values.end()) {
      continue;
    }
    words.insert(words.end(), {"--" + key, value->second});
  }
  return study::shell_text(words);
}

}  // namespace

std::vector<run::OwnOption> plan_options() {
  return {{"machine",
           "NAME",
           "of study/predict/machines.json, of --machines, or here: this "
           "machine's CPUs [h100-80g]",
           "gpu hardware accelerator"},
          {"machines",
           "FILE",
           "more machines, in the form of study/predict/machines.json",
           "machine_file"},
          {"study",
           "FOLDER",
           "of --machine here: what mumoe scale has measured on it, such as "
           "configs/predict_fit.json; may stand there several times",
           "scale own",
           true},
          {"nodes", "N", "how many [1]", "num_nodes nnodes hosts"},
          {"gpus-per-node",
           "N",
           "ranks of each, here as it has cores [as the machine has]",
           "gpus ngpus nproc_per_node"},
          {"rows", "N", "of the table of layouts [10]", "top"},
          {"json",
           "FILE",
           "where to write the same facts of all layouts, - for stdout, "
           "without the table",
           "output out_json output_path"}};
}

namespace {

void tell(FactsOutput& output,
          const PlanQuestion& question,
          const study::Plans& plans) {
  output.show([&] { return table_of(question, plans, terminal_columns()); },
              [&] { return json_of(question, plans); });
  require(!plans.possible.empty(),
          "mumoe plan: no layout of {} ranks can train this model{}",
          question.nodes * question.gpus_per_node,
          plans.refused.empty() ? "" : ": " + plans.refused.front().refused);
}

/// Rates of what `mumoe scale` measured of this program on this machine.
ExitCode plan_this_machine(const run::CommandLine& line, FactsOutput& output) {
  const auto folders = line.texts("study");
  require(!folders.empty(),
          "--machine here: nobody has measured it; expected --study FOLDER, "
          "which mumoe scale configs/predict_fit.json --out FOLDER makes in "
          "some minutes");
  require(nodes_of(line) == 1, "--nodes: --machine here is one");
  const auto runs = study::own_runs(folders);
  const study::OwnPredictor predictor(runs);
  const int ranks = line.number<int>(
      "gpus-per-node",
      static_cast<int>(std::max(std::thread::hardware_concurrency(), 1U)),
      1,
      1 << 10);
  const at::ScalarType dtype = predictor.dtype_for(line.options.precision);
  const std::string precision = dtype == at::kBFloat16 ? "bf16"
                                : dtype == at::kDouble ? "fp64"
                                                       : "fp32";
  std::string given = given_keys(line);
  if (line.options.precision == run::Precision::automatic) {
    given += (given.empty() ? "" : " ") + ("--train.precision " + precision);
  }
  study::Machine machine;
  machine.name = "here";
  const PlanQuestion question{
      .options = line.options,
      .machine = machine,
      .nodes = 1,
      .gpus_per_node = ranks,
      .given = given,
      .rows = line.number<std::size_t>("rows", 10, 1, 100000),
      .measured = runs.size(),
      .precision = precision};
  tell(output,
       question,
       study::plan_here(line.options,
                        predictor,
                        ranks,
                        dtype,
                        whole_memory(at::kCPU),
                        wanted_layout(line)));
  return ExitCode::done;
}

}  // namespace

ExitCode plan_command(const Invocation& invocation) {
  const run::CommandLine line =
      run::read_run(invocation.arguments, plan_options());
  FactsOutput output(line);
  if (line.text("machine", "") == "here") {
    return plan_this_machine(line, output);
  }
  require(!line.repeated.contains("study"),
          "--study: is of this machine; expected --machine here beside it");
  const study::Machine machine =
      named_machine(line, line.text("machine", "h100-80g"));
  const int nodes = nodes_of(line);
  const int gpus = static_cast<int>(machine.gpus_per_node);
  const PlanQuestion question{
      .options = line.options,
      .machine = machine,
      .nodes = nodes,
      .gpus_per_node = gpus,
      .given = given_keys(line),
      .rows = line.number<std::size_t>("rows", 10, 1, 100000)};
  const auto plans = study::plan_run(line.options,
                                     machine,
                                     nodes * gpus,
                                     at::kBFloat16,
                                     wanted_layout(line));
  tell(output, question, plans);
  return ExitCode::done;
}

}  // namespace mumoe::launch

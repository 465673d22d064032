#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"
#include "launch/commands.h"
#include "launch/fitted_table.h"
#include "launch/positional.h"
#include "launch/predict_own.h"
#include "launch/show_facts.h"
#include "run/command_line.h"
#include "study/predict/prediction_check.h"

namespace mumoe::launch {
namespace {

using nlohmann::json;
using study::Kept;
using study::MeasuredRun;
using study::PredictionCheck;

/// Fewer runs than this say nothing of the rates.
constexpr std::size_t kFewestRuns = 20;

/// What was checked, and what it is called.
struct Found {
  const char* name;   ///< for people
  const char* table;  ///< for programs
  const char* key;
  PredictionCheck check;
};

struct Checked {
  std::string machine;
  std::uint64_t seed;
  study::Rates rates;
  std::vector<Found> found;
};

Checked check(const std::vector<MeasuredRun>& near,
              const std::vector<MeasuredRun>& far,
              const std::vector<MeasuredRun>& tests,
              const study::Machine& machine,
              std::uint64_t seed) {
  Checked all{machine.name, seed, study::Predictor(near, machine).rates(), {}};
  constexpr std::pair<Kept, std::pair<const char*, const char*>> kFolds[] = {
      {Kept::rows, {"five folds", "rows"}},
      {Kept::cells, {"cells kept back", "cells"}},
      {Kept::tp, {"tp kept back", "tp"}}};
  for (const auto& [kept, names] : kFolds) {
    const auto found = study::check_folds(near, machine, kept, seed);
    if (!found) continue;
    all.found.push_back({names.first, "one_node", names.second, *found});
  }
  if (!far.empty()) {
    all.found.push_back({"several nodes",
                         "several_nodes",
                         "runs",
                         study::check_others(near, far, machine)});
  }
  if (!tests.empty()) {
    all.found.push_back({"those of --test",
                         "test",
                         "runs",
                         study::check_others(near, tests, machine)});
  }
  return all;
}

std::string percent(double share) {
  return fmt::format("{:.2f} %", 100 * share);
}

/// No wider than 80 columns.
constexpr const char* kLegend = R"(

error: mean of |predicted / measured - 1|; 90 % below: of nine of ten;
signed: its mean with the sign; rates: the error without the local correction;
held: by the 90 % interval; width: half of it, median; cell: width, tp and
micro-batch; cost: of the layout (tp, dp, micro-batch) predicted to be fastest,
over the best measured of the same model, GPUs and batch
)";

std::string rates_text(const study::Rates& rates) {
  return fmt::format(
      "products {:.2f} of peak, memory {:.2f} of its bandwidth, a launch "
      "{:.1f}, a collective {:.1f} and a step of a ring {:.1f} times the "
      "machine's",
      rates.product_share,
      rates.memory_share,
      rates.launch,
      rates.start,
      rates.ring_step);
}

std::string table_of(const Checked& all, std::size_t columns) {
  FittedTable table(columns);
  table.fact("machine", all.machine);
  table.fact("seed", fmt::format("{}", all.seed));
  table.fact("rates", rates_text(all.rates));
  std::vector<FittedTable::Cells> scores, choices;
  for (const Found& found : all.found) {
    const auto& score = found.check.score;
    scores.push_back({found.name,
                      fmt::format("{}", score.runs),
                      percent(score.mean_error),
                      percent(score.error_90),
                      percent(score.mean_signed),
                      percent(score.rates_error),
                      percent(score.held),
                      percent(score.half_width)});
    const auto& choice = found.check.choice;
    if (choice.groups == 0) continue;
    choices.push_back({found.name,
                       fmt::format("{}", choice.groups),
                       percent(choice.mean_cost),
                       percent(choice.worst_cost)});
  }
  table.rows({"predicted",
              "runs",
              "error",
              "90 % below",
              "signed",
              "rates",
              "held",
              "width"},
             scores);
  if (!choices.empty()) {
    table.rows({"layout chosen", "groups", "mean cost", "worst cost"}, choices);
  }
  return table.text() + kLegend;
}

std::string json_of(const Checked& all) {
  const study::Rates& rates = all.rates;
  json object = {{"machine", all.machine},
                 {"seed", all.seed},
                 {"rates",
                  {{"product_share", rates.product_share},
                   {"product_ramp", rates.product_ramp},
                   {"wave_share", rates.wave_share},
                   {"memory_share", rates.memory_share},
                   {"passes", rates.passes},
                   {"launch", rates.launch},
                   {"start", rates.start},
                   {"ring_step", rates.ring_step},
                   {"micro_step_ms", rates.micro_step},
                   {"step_ms", rates.step}}}};
  for (const Found& found : all.found) {
    const auto& [score, choice] = found.check;
    object[found.table][found.key] = {
        {"runs", score.runs},
        {"mean_error", score.mean_error},
        {"error_90", score.error_90},
        {"mean_signed_error", score.mean_signed},
        {"rates_mean_error", score.rates_error},
        {"in_interval", score.held},
        {"median_half_width", score.half_width},
        {"groups", choice.groups},
        {"mean_cost_of_choice", choice.mean_cost},
        {"worst_cost_of_choice", choice.worst_cost}};
  }
  return to_text(object, 2) + "\n";
}

/// The runs of all `files`.
std::vector<MeasuredRun> read_runs(const std::vector<std::string>& files) {
  std::vector<MeasuredRun> all;
  std::vector<std::string> notes;
  for (const std::string& file : files) {
    const auto runs = study::read_measured_runs(file, &notes);
    all.insert(all.end(), runs.begin(), runs.end());
  }
  // With --json - stdout is for it alone.
  for (const auto& note : notes) fmt::print(stderr, "note: {}\n", note);
  return all;
}

/// Throws `InputError` for what would be passed by beside --study.
void require_no_files(const run::CommandLine& line) {
  for (const char* name : {"file", "many", "machine", "machines", "seed"}) {
    require(!line.own.contains(name) && !line.repeated.contains(name),
            "--{}: says nothing of this program's own steps; expected none "
            "beside --study",
            name);
  }
}

ExitCode check_own_steps(const run::CommandLine& line, FactsOutput& output) {
  require_no_files(line);
  const auto runs = study::own_runs(line.texts("study"));
  const OwnCheck all = check_own(runs, study::own_runs(line.texts("test")));
  output.show([&] { return table_of(all, terminal_columns()); },
              [&] { return json_of(all); });
  return ExitCode::done;
}

}  // namespace

std::vector<run::OwnOption> predict_check_options() {
  return {
      {"file",
       "FILE",
       "measured runs; --file may be left out, and several may stand there",
       "path data csv",
       true},
      {"many",
       "FILE",
       "more of them, on several nodes; where they stand makes no "
       "difference",
       "nodes",
       true},
      {"study",
       "FOLDER",
       "instead of files: what mumoe scale measured here of this program's own "
       "steps; may stand there several times",
       "scale own",
       true},
      {"test",
       "FILE|FOLDER",
       "what is to be predicted from all of them: more measured runs, or, "
       "beside --study, another study [each shape of a "
       "model of it]",
       "check",
       true},
      {"machine", "NAME", "what they ran on [a100-80g]", "device gpu hardware"},
      {"machines",
       "FILE",
       "machines besides those that have names, or other constants of "
       "these, in the form of study/predict/machines.json",
       "hardware_file"},
      {"seed", "N", "which runs are kept back together [0]", "random_seed"},
      {"json",
       "FILE",
       "where to write the same as JSON, - for stdout, without the table",
       "output out_json"}};
}

ExitCode predict_check_command(const Invocation& invocation) {
  const run::CommandLine line =
      run::read_command_line(with_positional(invocation.arguments, "file"),
                             "",
                             predict_check_options());
  const auto files = line.texts("file");
  FactsOutput output(line);
  if (line.repeated.contains("study")) return check_own_steps(line, output);
  require(!files.empty(),
          "mumoe predict-check: FILE is missing: a CSV file of measured runs");
  study::Machines machines;
  if (line.own.contains("machines")) machines.add(line.text("machines", ""));
  const auto& machine = machines.named(line.text("machine", "a100-80g"));
  auto names = files;
  for (const auto& name : line.texts("many")) names.push_back(name);
  std::vector<MeasuredRun> near, far;
  for (const MeasuredRun& run : read_runs(names)) {
    const bool one = static_cast<double>(run.gpus) <= machine.gpus_per_node;
    (one ? near : far).push_back(run);
  }
  const auto tests = read_runs(line.texts("test"));
  require(near.size() >= kFewestRuns,
          "{}: {} runs on one node (at most {} GPUs): expected {} or more, to "
          "fit rates to",
          files.front(),
          near.size(),
          machine.gpus_per_node,
          kFewestRuns);
  const auto seed = line.number<std::uint64_t>("seed", 0);
  const Checked all = check(near, far, tests, machine, seed);
  output.show([&] { return table_of(all, terminal_columns()); },
              [&] { return json_of(all); });
  return ExitCode::done;
}

}  // namespace mumoe::launch

#include "launch/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/number.h"
#include "launch/fitted_table.h"
#include "model/families.h"

namespace mumoe::launch {
namespace {

using study::PlannedRun;

/// Targets of a sample: tokens of a window, or one image.
double targets_of(const run::Options& options) {
  const bool tokens =
      model::family(options.family).learns_from == model::LearnsFrom::tokens;
  return tokens ? static_cast<double>(options.model.context) : 1;
}

const char* target_of(const run::Options& options) {
  const bool tokens =
      model::family(options.family).learns_from == model::LearnsFrom::tokens;
  return tokens ? "token" : "image";
}

std::string span_text(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  if (seconds < 48 * 3600.) return fmt::format("{:.1f} h", seconds / 3600);
  return fmt::format("{:.1f} days", seconds / 86400);
}

double flops_of_target(const run::Options& options, const PlannedRun& planned) {
  return planned.cost.cost.pass.flops /
         static_cast<double>(planned.cost.batch.micro_batch) /
         targets_of(options);
}

std::vector<std::string> row_of(const run::Options& options,
                                const PlannedRun& planned) {
  const study::RunLayout& layout = planned.layout;
  const study::StepMoved moved = planned.cost.moved();
  return {fmt::format("{} x {}", layout.dp, layout.tp),
          layout.tp == 1 ? "-" : std::string(to_string(layout.plan)),
          std::to_string(layout.zero),
          std::to_string(layout.micro_batch),
          study::word_of(layout.recompute),
          size_text(planned.memory_bytes),
          fmt::format("{:.4g}", 1e3 * planned.step.seconds),
          fmt::format("{:.4g}", planned.samples_per_s * targets_of(options)),
          fmt::format("{:.0f}", 100 * planned.mfu),
          fmt::format("{:.0f}", 100 * planned.speed_of_light),
          size_text(moved.tp),
          size_text(moved.dp + moved.all)};
}

/// Where the memory and the time of the fastest go.
void add_best(FittedTable& table,
              const PlanQuestion& question,
              const PlannedRun& best) {
  const run::Options& options = question.options;
  const study::MemoryEstimate& memory = best.cost.memory;
  const study::StepTime& time = best.parts;
  const auto steps = static_cast<double>(options.trainer.steps);
  const double targets =
      targets_of(options) * static_cast<double>(options.trainer.batch);
  const auto bytes = [](const char* name, double count) {
    return fmt::format("{} {}", name, size_text(count));
  };
  const auto ms = [](const char* name, double seconds) {
    return fmt::format("{} {:.4g}", name, 1e3 * seconds);
  };
  table.fact("memory",
             {bytes("a rank", best.memory_bytes),
              bytes("weights", double(memory.parameters.weights)),
              bytes("gradients", double(memory.parameters.gradients)),
              bytes("optimizer", double(memory.parameters.optimizer)),
              bytes("kept for backward", memory.kept),
              bytes("workspace", memory.workspace),
              bytes(question.here() ? "program" : "context and communication",
                    best.memory_bytes - memory.model())});
  table.fact("ms a step",
             {ms("all", best.step.seconds),
              ms("products", time.products),
              ms("passes over memory", time.passes),
              ms("waiting for launches", time.launches),
              ms("tp", time.tp),
              ms("sums over dp that nothing hides", time.dp),
              ms("host", time.host)});
  table.fact("the run",
             {fmt::format("{} steps of {:.0f} {}s",
                          options.trainer.steps,
                          targets,
                          target_of(options)),
              fmt::format("{:.4g} in all", steps * targets),
              fmt::format("{} ({} to {})",
                          span_text(steps * best.step.seconds),
                          span_text(steps * best.step.low),
                          span_text(steps * best.step.high))});
  table.fact("command",
             fmt::format("launch/mpirun -n {} mumoe train{}{} {}",
                         best.layout.ranks(),
                         question.given.empty() ? "" : " ",
                         question.given,
                         arguments_of(best.layout)));
}

/// Without its numbers: what is refused for the same reason.
std::string kind_of(const std::string& reason) {
  std::string kind;
  for (const char c : reason) {
    if (c >= '0' && c <= '9') {
      if (kind.empty() || kind.back() != '#') kind += '#';
    } else if (c != '.' || kind.empty() || kind.back() != '#') {
      kind += c;
    }
  }
  return kind;
}

void add_refusals(FittedTable& table, const study::Plans& plans) {
  std::map<std::string, std::vector<const PlannedRun*>> kinds;
  for (const PlannedRun& planned : plans.refused) {
    kinds[kind_of(planned.refused)].push_back(&planned);
  }
  for (const auto& [kind, of] : kinds) {
    table.fact("refused",
               fmt::format("{} layouts, such as {}: {}",
                           of.size(),
                           arguments_of(of.front()->layout),
                           of.front()->refused));
  }
}

nlohmann::json to_json(const PlanQuestion& question,
                       const PlannedRun& planned) {
  const study::RunLayout& layout = planned.layout;
  nlohmann::json json = {{"dp", layout.dp},
                         {"tp", layout.tp},
                         {"plan", to_string(layout.plan)},
                         {"zero", layout.zero},
                         {"micro_batch", layout.micro_batch},
                         {"recompute", study::word_of(layout.recompute)},
                         {"arguments", arguments_of(layout)}};
  if (!planned.refused.empty()) {
    json["refused"] = planned.refused;
    return json;
  }
  const study::MemoryEstimate& memory = planned.cost.memory;
  const study::StepTime& time = planned.parts;
  const study::StepMoved moved = planned.cost.moved();
  json["memory_bytes"] = planned.memory_bytes;
  json["memory"] = {{"weights", memory.parameters.weights},
                    {"gradients", memory.parameters.gradients},
                    {"optimizer", memory.parameters.optimizer},
                    {"kept", memory.kept},
                    {"workspace", memory.workspace},
                    {"context", planned.memory_bytes - memory.model()}};
  json["step_s"] = {{"predicted", planned.step.seconds},
                    {"low", planned.step.low},
                    {"high", planned.step.high},
                    {"products", time.products},
                    {"passes", time.passes},
                    {"launches", time.launches},
                    {"tp", time.tp},
                    {"dp", time.dp},
                    {"host", time.host}};
  json["targets_per_s"] = planned.samples_per_s * targets_of(question.options);
  json["mfu"] = planned.mfu;
  json["sol"] = planned.speed_of_light;
  json["bytes_a_step"] = {{"tp", moved.tp},
                          {"dp", moved.dp},
                          {"all", moved.all}};
  return json;
}

}  // namespace

std::string table_of(const PlanQuestion& question,
                     const study::Plans& plans,
                     std::size_t columns) {
  const run::Options& options = question.options;
  FittedTable table(columns);
  table.fact(
      "machine",
      {question.machine.name,
       question.here() ? "one host, " + question.precision
                       : fmt::format("{} nodes of {} GPUs",
                                     question.nodes,
                                     question.gpus_per_node),
       fmt::format("{} ranks", question.nodes * question.gpus_per_node)});
  if (plans.possible.empty()) {
    add_refusals(table, plans);
    return table.text();
  }
  const PlannedRun& best = plans.possible.front();
  table.fact("model",
             {fmt::format("{} parameters", best.cost.cost.parameters),
              fmt::format("{:.4g} MFLOP a {} forward and backward",
                          1e-6 * flops_of_target(options, best),
                          target_of(options))});
  table.fact("layouts",
             {fmt::format("{} can be", plans.possible.size()),
              fmt::format("{} cannot", plans.refused.size())});
  add_refusals(table, plans);
  table.fact(
      "interval",
      fmt::format(
          "nine of ten steps {}take {:.2f} to {:.2f} times what is "
          "said: {}",
          question.here() ? "of the fastest " : "",
          best.step.low / best.step.seconds,
          best.step.high / best.step.seconds,
          question.here()
              ? fmt::format("{} cells were measured here", question.measured)
              : "nobody has measured this program's rates on such a "
                "machine"));
  add_best(table, question, best);
  std::vector<std::vector<std::string>> rows;
  for (const PlannedRun& planned : plans.possible) {
    if (rows.size() == question.rows) break;
    rows.push_back(row_of(options, planned));
  }
  table.rows({"dp x tp",
              "plan",
              "zero",
              "micro",
              "recompute",
              "memory",
              "ms",
              fmt::format("{}s/s", target_of(options)),
              "mfu %",
              "sol %",
              "tp",
              "dp"},
             rows);
  return table.text() + "\n";
}

std::string json_of(const PlanQuestion& question, const study::Plans& plans) {
  nlohmann::json json = {{"machine", question.machine.name},
                         {"measured", question.measured},
                         {"nodes", question.nodes},
                         {"gpus_per_node", question.gpus_per_node},
                         {"possible", nlohmann::json::array()},
                         {"refused", nlohmann::json::array()}};
  if (!plans.possible.empty()) {
    const PlannedRun& best = plans.possible.front();
    json["parameters"] = best.cost.cost.parameters;
    json["flops_per_target"] = flops_of_target(question.options, best);
  }
  for (const PlannedRun& planned : plans.possible) {
    json["possible"].push_back(to_json(question, planned));
  }
  for (const PlannedRun& planned : plans.refused) {
    json["refused"].push_back(to_json(question, planned));
  }
  return json.dump(1) + "\n";
}

}  // namespace mumoe::launch

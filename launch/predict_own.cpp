#include "launch/predict_own.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/number.h"
#include "launch/fitted_table.h"
#include "study/scale/run_facts.h"

namespace mumoe::launch {
namespace {

using study::OwnRun;

double error_of(double predicted, double measured) {
  return std::abs(predicted / measured - 1);
}

void predict(std::vector<OwnCell>& cells,
             const std::vector<OwnRun>& from,
             const std::vector<OwnRun>& tests) {
  const study::OwnPredictor predictor(from);
  for (const OwnRun& run : tests) {
    cells.push_back(
        {run,
         predictor.predict(run),
         predictor.by_rates(run).total(),
         predictor.memory_bytes(run),
         study::cost_of_run(run.options, run.layout, run.dtype, at::kCPU)
             .moved()});
  }
}

/// "cp-192" of "cp-192/1x1-micro3/strong"
std::string model_of(const OwnCell& cell) {
  return cell.run.name.substr(0, cell.run.name.find('/'));
}

void score_choices(OwnCheck& check) {
  std::map<std::string, std::vector<const OwnCell*>> models;
  for (const OwnCell& cell : check.cells) {
    models[model_of(cell)].push_back(&cell);
  }
  for (const auto& [model, cells] : models) {
    if (cells.size() < 2) continue;
    ++check.groups;
    const auto* chosen =
        *std::ranges::min_element(cells, {}, [](const OwnCell* cell) {
          return cell->predicted.seconds;
        });
    const auto* best =
        *std::ranges::min_element(cells, {}, [](const OwnCell* cell) {
          return cell->run.seconds;
        });
    check.choice_worst = std::max(check.choice_worst,
                                  chosen->run.seconds / best->run.seconds - 1);
  }
}

void score(OwnCheck& check) {
  const auto count = static_cast<double>(check.cells.size());
  std::vector<double> widths;
  for (const OwnCell& cell : check.cells) {
    const double memory = error_of(cell.memory_bytes, cell.run.rss_bytes);
    check.mean_error +=
        error_of(cell.predicted.seconds, cell.run.seconds) / count;
    check.rates_error += error_of(cell.by_rates, cell.run.seconds) / count;
    check.memory_mean += memory / count;
    check.memory_worst = std::max(check.memory_worst, memory);
    if (cell.predicted.holds(cell.run.seconds)) ++check.held;
    if (cell.moved == cell.run.moved) ++check.exact;
    widths.push_back(cell.predicted.half_width());
  }
  check.half_width = study::median(widths);
  score_choices(check);
}

std::string percent(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

}  // namespace

OwnCheck check_own(const std::vector<OwnRun>& runs,
                   const std::vector<OwnRun>& tests) {
  OwnCheck check;
  if (!tests.empty()) {
    predict(check.cells, runs, tests);
  } else {
    std::map<std::string, std::vector<OwnRun>> shapes;
    for (const OwnRun& run : runs) shapes[shape_of(run)].push_back(run);
    require(shapes.size() > 1,
            "--study: its cells are all of one model; expected several, or "
            "--test FOLDER");
    for (const auto& [shape, kept] : shapes) {
      std::vector<OwnRun> others;
      for (const OwnRun& run : runs) {
        if (shape_of(run) != shape) others.push_back(run);
      }
      predict(check.cells, others, kept);
    }
  }
  score(check);
  return check;
}

std::string table_of(const OwnCheck& check, std::size_t columns) {
  FittedTable table(columns);
  table.fact("cells", std::to_string(check.cells.size()));
  table.fact(
      "step time",
      {fmt::format("mean error {}", percent(check.mean_error)),
       fmt::format("of the rates alone {}", percent(check.rates_error))});
  table.fact("90 % interval",
             {fmt::format("holds {} of {}", check.held, check.cells.size()),
              fmt::format("median half-width {}", percent(check.half_width))});
  table.fact("memory",
             {fmt::format("mean error {}", percent(check.memory_mean)),
              fmt::format("worst {}", percent(check.memory_worst))});
  table.fact("bytes moved",
             fmt::format("over dp, tp and all ranks: exactly those of {} of {}",
                         check.exact,
                         check.cells.size()));
  table.fact("layout chosen",
             fmt::format("of {} models costs at most {} more than the fastest",
                         check.groups,
                         percent(check.choice_worst)));
  std::vector<FittedTable::Cells> rows;
  for (const OwnCell& cell : check.cells) {
    rows.push_back(
        {cell.run.name,
         fmt::format("{:.1f}", 1e3 * cell.run.seconds),
         fmt::format("{:.1f}", 1e3 * cell.predicted.seconds),
         fmt::format("{:+.1f} %",
                     100 * (cell.predicted.seconds / cell.run.seconds - 1)),
         cell.predicted.holds(cell.run.seconds) ? "in" : "out",
         size_text(cell.run.rss_bytes),
         fmt::format("{:+.1f} %",
                     100 * (cell.memory_bytes / cell.run.rss_bytes - 1))});
  }
  table.rows({"cell", "ms", "predicted", "error", "90 %", "memory", "error"},
             rows);
  return table.text() + "\n";
}

namespace {

nlohmann::json moved_json(const study::StepMoved& moved) {
  return {{"dp", moved.dp}, {"tp", moved.tp}, {"all", moved.all}};
}

}  // namespace

std::string json_of(const OwnCheck& check) {
  nlohmann::json cells = nlohmann::json::array();
  for (const OwnCell& cell : check.cells) {
    cells.push_back({{"cell", cell.run.name},
                     {"step_s", cell.run.seconds},
                     {"predicted_s", cell.predicted.seconds},
                     {"low_s", cell.predicted.low},
                     {"high_s", cell.predicted.high},
                     {"by_rates_s", cell.by_rates},
                     {"moved", moved_json(cell.run.moved)},
                     {"predicted_moved", moved_json(cell.moved)},
                     {"memory_bytes", cell.run.rss_bytes},
                     {"predicted_memory_bytes", cell.memory_bytes}});
  }
  return to_text(nlohmann::json({{"mean_error", check.mean_error},
                                 {"rates_mean_error", check.rates_error},
                                 {"in_interval", check.held},
                                 {"median_half_width", check.half_width},
                                 {"memory_mean_error", check.memory_mean},
                                 {"memory_worst_error", check.memory_worst},
                                 {"exact_bytes", check.exact},
                                 {"groups", check.groups},
                                 {"worst_cost_of_choice", check.choice_worst},
                                 {"cells", cells}}),
                 2) +
         "\n";
}

}  // namespace mumoe::launch

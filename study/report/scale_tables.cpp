#include "study/report/scale_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <set>
#include <string_view>

#include "study/report/axis.h"
#include "study/report/scale_charts.h"
#include "study/report/scale_series.h"

namespace mumoe::study {
namespace {

using Kind = Column::Kind;

constexpr const char* kNone = "–";

/// Three digits, and no fewer than stand before the point.
std::string digits(double value) {
  const double size = std::abs(value);
  const int decimals = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  if (!std::isfinite(value)) return kNone;
  return value == 0 ? "0" : fmt::format("{:.{}f}", value, decimals);
}

std::string range_text(double low, double high) {
  return fmt::format("{}–{}", digits(low), digits(high));
}

/// The median, with the ends where there are several.
std::string spread_text(const ScaleCell& cell,
                        const Quantity& quantity,
                        double unit = 1) {
  const auto found = cell.spread(quantity);
  if (!found) return kNone;
  const auto median = digits(found->median / unit);
  if (!(found->low < found->high)) return median;
  return fmt::format("{} ({})",
                     median,
                     range_text(found->low / unit, found->high / unit));
}

std::string median_text(const ScaleCell& cell,
                        const Quantity& quantity,
                        double unit = 1) {
  const auto found = cell.spread(quantity);
  return found ? digits(found->median / unit) : kNone;
}

std::string bytes_text(const ScaleCell& cell, double ScaleResult::*member) {
  const auto found =
      cell.spread([&](const ScaleResult& run) { return run.*member; });
  return found ? short_number(found->median) : kNone;
}

std::string loss_text(const ScaleCell& cell) {
  const auto found = cell.spread([](auto& run) { return run.loss; });
  return found ? fmt::format("{:.4f}", found->median) : kNone;
}

/// Predicted over measured step time less 1; none without one of them.
std::optional<double> prediction_error(const ScaleCell& cell) {
  const auto step = cell.spread([](auto& run) { return run.step_ms; });
  if (!step || !cell.predicted || !(step->median > 0)) return {};
  const double error = cell.predicted->step_ms / step->median - 1;
  return std::isfinite(error) ? std::optional(error) : std::nullopt;
}

std::string percent(const std::optional<double>& share) {
  return share ? fmt::format("{:+.1f}", 100 * *share) : kNone;
}

std::vector<Column> cell_columns(const std::string& rate) {
  static const std::set<std::string_view> kWords = {"model",
                                                    "scaling",
                                                    "plan",
                                                    "recompute",
                                                    "precision"};
  std::vector<Column> columns;
  for (const std::string& name : std::initializer_list<std::string>{
           "model",     "scaling",      "ranks",        "nodes",
           "dp×tp",     "plan",         "zero",         "micro-batch",
           "batch",     "recompute",    "precision",    "runs",
           "step",      rate,           "efficiency %", "MFU %",
           "SoL %",     "MiB a rank",   "dp bytes",     "tp bytes",
           "all bytes", "exposed ms",   "loss",         "predicted step",
           "off %",     "predicted MiB"}) {
    const bool words = kWords.contains(name);
    columns.push_back({name, words ? Kind::words : Kind::number});
  }
  return columns;
}

std::vector<std::string> settings_of(const ScaleResult& what) {
  return {what.model,
          what.scaling,
          std::to_string(what.ranks),
          std::to_string(what.nodes),
          fmt::format("{}×{}", what.dp, what.tp),
          what.tp > 1 ? what.plan : kNone,
          std::to_string(what.zero),
          std::to_string(what.micro_batch),
          std::to_string(what.batch),
          what.recompute ? "yes" : "no",
          what.precision};
}

std::vector<std::string> measured_of(const std::vector<ScaleCell>& cells,
                                     const ScaleCell& cell) {
  const ScaleCell* baseline = baseline_of(cells, cell);
  return {std::to_string(cell.runs.size()),
          spread_text(cell, [](auto& run) { return run.step_ms; }),
          median_text(cell, [](auto& run) { return run.targets_per_s; }),
          baseline == nullptr
              ? kNone
              : median_text(
                    cell,
                    [&](auto& run) { return efficiency(*baseline, run); },
                    0.01),
          median_text(
              cell,
              [](auto& run) { return run.mfu; },
              0.01),
          median_text(
              cell,
              [](auto& run) { return run.sol; },
              0.01),
          median_text(cell, memory_mib),
          bytes_text(cell, &ScaleResult::dp_bytes),
          bytes_text(cell, &ScaleResult::tp_bytes),
          bytes_text(cell, &ScaleResult::all_bytes),
          median_text(cell, [](auto& run) { return run.exposed_ms; }),
          loss_text(cell)};
}

std::vector<std::string> predicted_of(const ScaleCell& cell) {
  if (!cell.predicted) return {kNone, kNone, kNone};
  const Predicted& is = *cell.predicted;
  return {fmt::format("{} ({})",
                      digits(is.step_ms),
                      range_text(is.low_ms, is.high_ms)),
          percent(prediction_error(cell)),
          is.memory_mib > 0 ? digits(is.memory_mib) : kNone};
}

bool measured_later(const ScaleCell& cell, const ScaleResult& failure) {
  return std::any_of(
      cell.runs.begin(),
      cell.runs.end(),
      [&](const ScaleResult& run) { return run.repeat == failure.repeat; });
}

/// Leaves out of `table` the columns that are one in all of its rows: those
/// that were not measured, and settings, which its caption then names.
void leave_out_constant(Table& table) {
  static const std::set<std::string_view> kSettings =
      {"nodes", "zero", "micro-batch", "batch", "recompute", "precision"};
  std::string same;
  for (std::size_t i = table.columns.size(); i-- > 0;) {
    const std::string value = table.rows[0][i];
    const bool constant =
        std::all_of(table.rows.begin(), table.rows.end(), [&](const auto& row) {
          return row[i] == value;
        });
    const std::string name = table.columns[i].name;
    const bool setting = kSettings.contains(name);
    if (!constant || !(setting || value == kNone)) continue;
    if (setting) {
      same =
          fmt::format("{} {}{}{}", name, value, same.empty() ? "" : ", ", same);
    }
    const auto at = static_cast<std::ptrdiff_t>(i);
    table.columns.erase(table.columns.begin() + at);
    for (auto& row : table.rows) row.erase(row.begin() + at);
  }
  if (!same.empty()) table.caption += " The same in all: " + same + '.';
}

}  // namespace

Table cell_table(const std::vector<ScaleCell>& cells) {
  Table table;
  table.caption =
      "Medians over the repeats, with the least and the largest; step times "
      "and predictions in ms, bytes of rank 0 a step. Off: what the "
      "prediction of a step is too long by.";
  table.columns = cell_columns(targets_of(cells) + "/s");
  for (const ScaleCell& cell : cells) {
    auto row = settings_of(cell.what);
    for (auto& text : measured_of(cells, cell)) row.push_back(std::move(text));
    for (auto& text : predicted_of(cell)) row.push_back(std::move(text));
    table.rows.push_back(std::move(row));
  }
  if (!table.rows.empty()) leave_out_constant(table);
  return table;
}

Table model_table(const std::vector<ScaleCell>& cells) {
  Table table;
  table.columns = {{"model"},
                   {"parameters", Kind::number},
                   {"FLOPs a target, forward and backward", Kind::number}};
  for (const ScaleCell& cell : cells) {
    const ScaleResult& what = cell.what;
    const bool known =
        std::any_of(table.rows.begin(), table.rows.end(), [&](const auto& row) {
          return row[0] == what.model;
        });
    if (known || !cell.measured()) continue;
    table.rows.push_back({what.model,
                          std::to_string(what.parameters),
                          short_number(what.flops_per_target)});
  }
  return table;
}

Table failure_table(const std::vector<ScaleCell>& cells) {
  Table table;
  table.columns = {{"cell"},
                   {"repeat", Kind::number},
                   {"exit", Kind::number},
                   {"why", Kind::prose},
                   {"afterwards"},
                   {"finished"},
                   {"command", Kind::code}};
  for (const ScaleCell& cell : cells) {
    for (const ScaleResult& run : cell.failures) {
      table.rows.push_back(
          {run.cell,
           std::to_string(run.repeat),
           std::to_string(run.code),
           run.failed,
           measured_later(cell, run) ? "measured" : "not measured",
           run.finished,
           run.command});
    }
  }
  return table;
}

Table run_table(const std::vector<ScaleCell>& cells) {
  Table table;
  table.columns = {{"cell"},
                   {"repeat", Kind::number},
                   {"steps", Kind::number},
                   {"step ms", Kind::number},
                   {"loss", Kind::number},
                   {"finished"},
                   {"version"},
                   {"command", Kind::code}};
  for (const ScaleCell& cell : cells) {
    for (const ScaleResult& run : cell.runs) {
      table.rows.push_back(
          {run.cell,
           std::to_string(run.repeat),
           std::to_string(run.steps),
           digits(run.step_ms),
           std::isfinite(run.loss) ? fmt::format("{:.6f}", run.loss) : kNone,
           run.finished,
           run.version,
           run.command});
    }
  }
  return table;
}

std::string prediction_line(const std::vector<ScaleCell>& cells) {
  double sum = 0, worst = 0;
  int count = 0, inside = 0;
  for (const ScaleCell& cell : cells) {
    const auto error = prediction_error(cell);
    if (!error) continue;
    const double step =
        cell.spread([](auto& run) { return run.step_ms; })->median;
    ++count;
    sum += std::abs(*error);
    worst = std::max(worst, std::abs(*error));
    inside += step >= cell.predicted->low_ms && step <= cell.predicted->high_ms;
  }
  if (count == 0) return {};
  return fmt::format(
      "Predicted step times are off by {:.1f} % in the mean and {:.1f} % at "
      "most; {} of {} measured cells lie within their 90 % interval.",
      100 * sum / count,
      100 * worst,
      inside,
      count);
}

}  // namespace mumoe::study

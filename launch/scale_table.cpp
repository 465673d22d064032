#include "launch/scale_table.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/json.h"
#include "base/number.h"
#include "launch/fitted_table.h"

namespace mumoe::launch {
namespace {

using nlohmann::json;
using study::ScaleCell;
using study::ScaleResult;
using study::Spread;

/// A figure of a run, under the name that it has in results.jsonl.
struct Figure {
  const char* name;
  std::optional<double> (*of)(const ScaleResult&);
};
constexpr std::array<Figure, 11> kFigures = {{
    {"step_ms", [](const ScaleResult& r) { return std::optional(r.step_ms); }},
    {"targets_per_s",
     [](const ScaleResult& r) { return std::optional(r.targets_per_s); }},
    {"mfu", [](const ScaleResult& r) { return std::optional(r.mfu); }},
    {"sol", [](const ScaleResult& r) { return r.sol; }},
    {"rss_mib", [](const ScaleResult& r) { return std::optional(r.rss_mib); }},
    {"gpu_mib", [](const ScaleResult& r) { return r.gpu_mib; }},
    {"dp_bytes",
     [](const ScaleResult& r) { return std::optional(r.dp_bytes); }},
    {"tp_bytes",
     [](const ScaleResult& r) { return std::optional(r.tp_bytes); }},
    {"all_bytes",
     [](const ScaleResult& r) { return std::optional(r.all_bytes); }},
    {"exposed_ms", [](const ScaleResult& r) { return r.exposed_ms; }},
    {"loss", [](const ScaleResult& r) { return std::optional(r.loss); }},
}};

std::optional<Spread> spread(const ScaleCell& cell, std::string_view name) {
  for (const Figure& figure : kFigures) {
    if (figure.name == name) return cell.spread(figure.of);
  }
  return std::nullopt;
}

std::optional<double> efficiency_of(const std::vector<ScaleCell>& cells,
                                    const ScaleCell& cell) {
  const ScaleCell* base = study::baseline_of(cells, cell);
  if (base == nullptr) return std::nullopt;
  const auto found = cell.spread(
      [&](const ScaleResult& run) { return study::efficiency(*base, run); });
  return found ? std::optional(found->median) : std::nullopt;
}

std::string percent(const std::optional<double>& share) {
  return share ? fmt::format("{:.1f}%", 100 * *share) : "";
}

std::string middle(const ScaleCell& cell,
                   std::string_view name,
                   const char* form = "{:.4g}",
                   double unit = 1) {
  const auto found = spread(cell, name);
  if (!found) return "";
  return fmt::format(fmt::runtime(form), found->median / unit);
}

std::optional<double> share(const ScaleCell& cell, std::string_view name) {
  const auto found = spread(cell, name);
  return found ? std::optional(found->median) : std::nullopt;
}

/// Nothing where an axis moves nothing, so that its column may go.
std::string bytes(const ScaleCell& cell, std::string_view name) {
  const auto found = spread(cell, name);
  return found && found->median > 0 ? size_text(found->median) : "";
}

std::string range(const ScaleCell& cell, std::string_view name) {
  const auto found = spread(cell, name);
  if (!found || cell.runs.size() < 2) return "";
  return fmt::format("{:.4g}..{:.4g}", found->low, found->high);
}

FittedTable::Cells times_of(const std::vector<ScaleCell>& cells,
                            const ScaleCell& cell) {
  return {cell.what.cell,
          middle(cell, "step_ms"),
          range(cell, "step_ms"),
          middle(cell, "targets_per_s"),
          percent(efficiency_of(cells, cell)),
          percent(share(cell, "mfu")),
          percent(share(cell, "sol"))};
}

FittedTable::Cells needs_of(const ScaleCell& cell) {
  return {cell.what.cell,
          middle(cell, "exposed_ms"),
          bytes(cell, "dp_bytes"),
          bytes(cell, "tp_bytes"),
          bytes(cell, "all_bytes"),
          middle(cell, "rss_mib", "{:.0f}"),
          middle(cell, "gpu_mib", "{:.0f}")};
}

json number(double value) {
  return std::isfinite(value) ? json(value) : json();
}

}  // namespace

std::string scale_table(const std::vector<ScaleCell>& cells,
                        std::size_t columns) {
  std::string failed;
  std::vector<FittedTable::Cells> times, needs;
  std::string target = "target";
  for (const ScaleCell& cell : cells) {
    if (cell.measured()) {
      times.push_back(times_of(cells, cell));
      needs.push_back(needs_of(cell));
      target = cell.runs.front().target;
    }
    for (const ScaleResult& failure : cell.failures) {
      failed += fmt::format("FAILED {}, repeat {}, code {}: {}\n",
                            failure.cell,
                            failure.repeat,
                            failure.code,
                            failure.failed);
    }
  }
  if (times.empty()) return failed;
  FittedTable table(columns);
  table
      .rows({"cell", "ms", "least..most", target + "s/s", "eff.", "mfu", "sol"},
            times)
      .rows({"cell", "exposed ms", "dp", "tp", "dp and tp", "rss MiB", "GPU"},
            needs);
  return table.text() +
         "\nms: a step, median; eff.: rate of a rank over that of the fewest "
         "ranks;\nexposed: waited for communication; dp, tp, dp and tp: rank 0 "
         "sends so much a step\n" +
         failed;
}

std::string scale_json(const std::vector<ScaleCell>& cells) {
  json all = json::array();
  for (const ScaleCell& cell : cells) {
    json object = {{"cell", cell.what.cell},
                   {"model", cell.what.model},
                   {"scaling", cell.what.scaling},
                   {"dp", cell.what.dp},
                   {"tp", cell.what.tp},
                   {"ranks", cell.what.ranks},
                   {"plan", cell.what.plan},
                   {"batch", cell.what.batch}};
    const auto efficiency = efficiency_of(cells, cell);
    object["efficiency"] = efficiency ? number(*efficiency) : json();
    for (const Figure& figure : kFigures) {
      const auto found = cell.spread(figure.of);
      object[figure.name] = found ? json{{"median", number(found->median)},
                                         {"low", number(found->low)},
                                         {"high", number(found->high)}}
                                  : json();
    }
    for (const char* name : {"runs", "failures"}) {
      object[name] = json::array();
      const auto& runs = name[0] == 'r' ? cell.runs : cell.failures;
      for (const ScaleResult& run : runs) {
        object[name].push_back(parse_json(study::to_json(run), "a result"));
      }
    }
    all.push_back(std::move(object));
  }
  return to_text({{"cells", std::move(all)}}, 1) + "\n";
}

}  // namespace mumoe::launch

#include "launch/loss_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <tuple>

#include "base/json.h"
#include "launch/fitted_table.h"

namespace mumoe::launch {
namespace {

using nlohmann::json;
using study::LossPoint;
using study::LossResult;

/// The same model and budget, with several seeds.
struct Row {
  LossPoint what;
  std::vector<double> losses = {};
  std::vector<std::int64_t> seeds = {};

  double mean() const {
    return std::accumulate(losses.begin(), losses.end(), 0.0) /
           static_cast<double>(losses.size());
  }
  double low() const { return std::ranges::min(losses); }
  double high() const { return std::ranges::max(losses); }
};

/// By form, size, then tokens.
std::vector<Row> rows_of(const std::vector<LossResult>& results) {
  auto points = study::loss_points(results);
  std::erase_if(points, [](const auto& point) { return !point.has_loss(); });
  const auto place = [](const LossPoint& p) {
    return std::tie(p.form, p.parameters, p.model, p.tokens);
  };
  std::ranges::stable_sort(points, [&](const auto& a, const auto& b) {
    return place(a) < place(b);
  });
  std::vector<Row> rows;
  for (const LossPoint& point : points) {
    if (rows.empty() || place(rows.back().what) != place(point)) {
      rows.push_back({point});
    }
    rows.back().losses.push_back(point.loss);
    rows.back().seeds.push_back(point.seed);
  }
  return rows;
}

/// It came to its end, but to no loss.
bool is_left_out(const LossResult& result) {
  const auto points = study::loss_points({result});
  return !points.empty() && !points[0].has_loss();
}

}  // namespace

std::string loss_table(const std::vector<LossResult>& results,
                       std::size_t columns) {
  std::string failed;
  std::string target = "token";
  for (const LossResult& result : results) {
    target = result.target;
    if (is_left_out(result)) {
      failed += fmt::format("LEFT OUT {}: its loss is {}, no finite number\n",
                            result.run,
                            result.loss);
    }
    if (result.failed.empty()) continue;
    failed += fmt::format("FAILED {}, code {}: {}\n",
                          result.run,
                          result.code,
                          result.failed);
  }
  std::vector<FittedTable::Cells> cells;
  for (const Row& row : rows_of(results)) {
    const LossPoint& what = row.what;
    const bool several = row.losses.size() > 1;
    cells.push_back(
        {what.model,
         what.form,
         fmt::format("{:.4g}", what.parameters),
         fmt::format("{:.4g}", what.tokens),
         fmt::format("{:.3g}", what.flops()),
         fmt::format("{:.4f}", row.mean()),
         several ? fmt::format("{:.4f}..{:.4f}", row.low(), row.high()) : "",
         several ? std::to_string(row.losses.size()) : ""});
  }
  if (cells.empty()) return failed;
  FittedTable table(columns);
  table.rows({"model",
              "form",
              "N",
              target + "s",
              "FLOPs",
              "loss",
              "least..most",
              "seeds"},
             cells);
  return table.text() +
         fmt::format(
             "\nN: trained parameters but embeddings; loss: of the validation "
             "set, nats\nper {}, mean over the seeds\n",
             target) +
         failed;
}

std::string loss_table_json(const std::vector<LossResult>& results) {
  json losses = json::array();
  for (const Row& row : rows_of(results)) {
    losses.push_back(
        {{"model", row.what.model},
         {"form", row.what.form},
         {"parameters", row.what.parameters},
         {"targets", row.what.tokens},
         {"flops", row.what.flops()},
         {"loss",
          {{"mean", row.mean()}, {"low", row.low()}, {"high", row.high()}}},
         {"seeds", row.seeds}});
  }
  json runs = json::array(), left_out = json::array();
  for (const LossResult& result : results) {
    if (is_left_out(result)) left_out.push_back(result.run);
    runs.push_back(parse_json(study::to_json(result), "a result"));
  }
  return to_text({{"losses", std::move(losses)},
                  {"left_out", std::move(left_out)},
                  {"runs", std::move(runs)}},
                 1) +
         "\n";
}

}  // namespace mumoe::launch

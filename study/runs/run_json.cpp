#include <nlohmann/json.hpp>

#include "base/json.h"
#include "study/runs/run_report.h"
#include "study/runs/thinned.h"

namespace mumoe::study {
namespace {

using nlohmann::json;

/// {"x": [...], "y": [...]}, thinned with "low" and "high".
json curve_of(const RunRecord& run, double RunPoint::*member) {
  std::vector<ChartPoint> points;
  for (const RunPoint& at : run.metrics.points) {
    points.push_back({static_cast<double>(at.step), at.*member});
  }
  const Thinned kept = thinned(std::move(points));
  json curve = {{"x", json::array()}, {"y", json::array()}};
  for (const ChartPoint& point : kept.points) {
    curve["x"].push_back(point.x);
    curve["y"].push_back(point.y);
  }
  for (const BandPoint& point : kept.band) {
    curve["low"].push_back(point.low);
    curve["high"].push_back(point.high);
  }
  return curve;
}

json summary_json(const RunRecord& run) {
  const RunSummary s = summary_of(run);
  json said = {{"steps", s.steps},
               {run.metrics.target + "s", s.targets},
               {"elapsed_s", s.elapsed_s},
               {"loss", s.loss},
               {"val_loss", s.last_loss},
               {"best_val_loss", s.best_loss},
               {"best_step", s.best_step},
               {"step_ms", s.step_ms},
               {run.metrics.target + "s_per_s", s.targets_per_s},
               {"mfu", s.mfu},
               {"sol", s.sol},
               {"rss_mib", run.metrics.rss_mib},
               {"saves", run.metrics.saves},
               {"save_stall_s", run.metrics.save_stall_s},
               {"bad_steps", s.bad_steps},
               {"failed_saves", s.failed_saves},
               {"resumes", s.resumes},
               {"growing", run.metrics.growing}};
  if (s.experts > 0) {
    said["active_share"] = s.active;
    said["effective_share"] = s.effective;
    said["dead_experts"] = s.dead;
    said["experts"] = s.experts;
  }
  return said;
}

json json_of(const RunRecord& run) {
  json said = {{"name", run.name},
               {"folder", run.folder.string()},
               {"summary", summary_json(run)},
               {"settings", run.settings},
               {"events", json::array()},
               {"evaluations", json::array()}};
  for (const auto& [name, value] : run.provenance) {
    said["provenance"][name] = value;
  }
  for (const RunEvent& event : run.metrics.events) {
    said["events"].push_back(
        {{"step", event.step}, {"what", event.what}, {"text", event.text}});
  }
  for (const RunEvaluation& each : run.metrics.evaluations) {
    said["evaluations"].push_back(
        {{"step", each.at.step}, {"val_loss", each.found.loss}});
  }
  if (!run.metrics.experts.empty()) {
    const RunExperts& newest = run.metrics.experts.back();
    said["experts"] = {{"step", newest.step},
                       {"gates", json::parse(train::to_json(newest.gates))}};
  }
  said["curves"] = {{"loss", curve_of(run, &RunPoint::loss)},
                    {"grad_norm", curve_of(run, &RunPoint::grad_norm)},
                    {"lr", curve_of(run, &RunPoint::lr)},
                    {"mfu", curve_of(run, &RunPoint::mfu)},
                    {run.metrics.target + "s_per_s",
                     curve_of(run, &RunPoint::targets_per_s)}};
  return said;
}

}  // namespace

std::string run_json(std::span<const RunRecord> runs) {
  json all = {{"runs", json::array()}};
  for (const RunRecord& run : runs) all["runs"].push_back(json_of(run));
  return to_text(all) + "\n";
}

}  // namespace mumoe::study

#include "study/runs/run_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/number.h"
#include "run/options.h"
#include "study/scale/run_facts.h"

namespace mumoe::study {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// Members and members of these, by names with dots.
void flatten(const json& value,
             const std::string& name,
             std::vector<std::pair<std::string, std::string>>& flat) {
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      flatten(member, name.empty() ? key : name + "." + key, flat);
    }
    return;
  }
  flat.emplace_back(
      name,
      value.is_string() ? value.get<std::string>() : to_text(value));
}

/// "resumed after step 12 from ...", as log.txt has them.
void add_resumes(const fs::path& log, std::vector<RunEvent>& events) {
  std::error_code error;
  if (!fs::is_regular_file(log, error)) return;
  std::istringstream lines(read_file(log));
  for (std::string line; std::getline(lines, line);) {
    for (const std::string_view word : {"resumed", "branched"}) {
      const std::string begin = fmt::format("{} after step ", word);
      if (!line.starts_with(begin)) continue;
      std::istringstream rest(line.substr(begin.size()));
      std::int64_t step = 0;
      std::string from;
      rest >> step;
      std::getline(rest >> std::ws, from);
      events.push_back({step, std::string(word), from});
    }
  }
}

std::string name_of(const fs::path& folder, int parts) {
  std::error_code error;
  fs::path rest = fs::absolute(folder, error).lexically_normal();
  if (!rest.has_filename()) rest = rest.parent_path();
  fs::path name = rest.filename();
  for (int i = 1; i < parts && rest.has_relative_path(); ++i) {
    rest = rest.parent_path();
    name = rest.filename() / name;
  }
  return name.string();
}

}  // namespace

std::string RunRecord::setting(const std::string& key) const {
  const auto found = settings.find(key);
  return found == settings.end() ? "" : found->second;
}

std::string RunRecord::made_with(const std::string& what) const {
  const auto found =
      std::ranges::find(provenance,
                        what,
                        &std::pair<std::string, std::string>::first);
  return found == provenance.end() ? "" : found->second;
}

RunRecord read_run_record(const fs::path& folder) {
  std::error_code error;
  require(fs::is_directory(folder, error),
          "{}: no such folder; expected a run directory of mumoe train",
          folder.string());
  const fs::path config = folder / "config.cfg";
  for (const char* file : {"metrics.jsonl", "config.cfg", "provenance.json"}) {
    require(fs::exists(folder / file, error),
            "{}: has no {}; expected a run directory of mumoe train",
            folder.string(),
            file);
  }
  RunRecord run{.folder = folder, .name = name_of(folder, 1)};
  run.settings = run::to_map(run::read_config(config));
  const fs::path made = folder / "provenance.json";
  const json facts = parse_json(read_file(made), made.string());
  require(facts.is_object() && facts.contains("mesh"),
          "{}: expected that of a run",
          made.string());
  flatten(facts, "", run.provenance);
  run.metrics = metrics_in(folder / "metrics.jsonl");
  add_resumes(folder / "log.txt", run.metrics.events);
  std::ranges::stable_sort(run.metrics.events, {}, &RunEvent::step);
  return run;
}

std::vector<RunRecord> read_run_records(std::span<const fs::path> folders) {
  std::vector<RunRecord> runs;
  for (const fs::path& folder : folders)
    runs.push_back(read_run_record(folder));
  for (int parts = 2; parts < 8; ++parts) {
    std::set<std::string> names;
    for (const RunRecord& run : runs) names.insert(run.name);
    if (names.size() == runs.size()) break;
    for (RunRecord& run : runs) run.name = name_of(run.folder, parts);
  }
  return runs;
}

namespace {

double mean_of_last(const std::vector<RunPoint>& points) {
  const std::size_t count =
      std::min(points.size(), std::max<std::size_t>(10, points.size() / 100));
  double sum = 0;
  for (std::size_t i = points.size() - count; i < points.size(); ++i) {
    sum += points[i].loss;
  }
  return sum / static_cast<double>(count);
}

/// Of the steps but the first two, which also warm up.
double middle(const std::vector<RunPoint>& points, double RunPoint::*member) {
  std::vector<double> values;
  for (const RunPoint& point : points) {
    if (point.step > 2) values.push_back(point.*member);
  }
  return median(std::move(values));
}

}  // namespace

RunSummary summary_of(const RunRecord& run) {
  const RunMetrics& m = run.metrics;
  RunSummary s{.steps = m.points.back().step,
               .targets = m.points.back().targets,
               .elapsed_s = m.points.back().elapsed_s,
               .loss = mean_of_last(m.points),
               .best_loss = kNone,
               .last_loss = kNone,
               .step_ms = middle(m.points, &RunPoint::step_ms),
               .targets_per_s = middle(m.points, &RunPoint::targets_per_s),
               .mfu = middle(m.points, &RunPoint::mfu),
               .sol = middle(m.points, &RunPoint::sol),
               .active = kNone,
               .effective = kNone};
  for (const RunEvaluation& evaluation : m.evaluations) {
    s.last_loss = evaluation.found.loss;
    if (s.best_step != 0 && s.last_loss >= s.best_loss) continue;
    s.best_loss = s.last_loss;
    s.best_step = evaluation.at.step;
  }
  for (const RunEvent& event : m.events) {
    s.bad_steps += event.what == "bad step";
    s.failed_saves += event.what == "failed save";
    s.resumes += event.what == "resumed";
  }
  if (m.experts.empty()) return s;
  s.active = s.effective = 0;
  const auto& gates = m.experts.back().gates;
  const auto count = static_cast<double>(gates.size());
  for (const train::ExpertFigures& gate : gates) {
    s.active += gate.active / count;
    s.effective += gate.effective / static_cast<double>(gate.experts) / count;
    s.dead += gate.dead;
    s.experts += gate.experts;
  }
  return s;
}

}  // namespace mumoe::study

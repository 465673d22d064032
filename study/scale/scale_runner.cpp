#include "study/scale/scale_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "run/version.h"
#include "study/scale/run_facts.h"
#include "study/scale/run_text.h"
#include "study/scale/study_settings.h"
#include "train/metrics.h"

namespace mumoe::study {
namespace {

/// Whether `result` is of this cell with the settings that it has now. Throws
/// `InputError` where only the configuration behind them has changed.
bool is_of(const ScaleResult& result,
           const ScaleStudy& study,
           const StudyCell& cell) {
  // Blanks at both ends: 12 is not a part of 120.
  const auto measured = " " + shell_text(measured_words(study, cell)) + " ";
  if (result.cell != cell.name ||
      result.command.find(measured) == result.command.npos) {
    return false;
  }
  const bool same =
      result.config_hash.value_or(study.config_hash) == study.config_hash;
  // What failed by its configuration may succeed by another.
  if (!same && result.failed.empty()) refuse_config(study.config, cell.name);
  return same;
}

/// The last word of each run of the study.
std::map<StudyRun, const ScaleResult*> known_runs(
    const ScaleStudy& study,
    const std::vector<ScaleResult>& results) {
  std::map<std::string, std::size_t> names;
  for (std::size_t i = 0; i < study.cells.size(); ++i) {
    names[study.cells[i].name] = i;
  }
  std::map<StudyRun, const ScaleResult*> known;
  for (const ScaleResult& result : results) {
    const auto found = names.find(result.cell);
    if (found == names.end() || result.repeat >= study.repeats) continue;
    if (!is_of(result, study, study.cells[found->second])) continue;
    known[{found->second, result.repeat}] = &result;
  }
  return known;
}

bool comes_again(int code) {
  return code == static_cast<int>(ExitCode::bad_input) ||
         code == static_cast<int>(ExitCode::non_finite);
}

// The last one of a trace does not count.
constexpr std::int64_t kTracedSteps = 6;

/// `cell` with a trace, for so many steps.
StudyCell traced_cell(StudyCell cell,
                      std::int64_t steps,
                      const std::filesystem::path& trace) {
  for (auto& [key, value] : cell.settings) {
    if (key == "train.steps") value = std::to_string(steps);
  }
  std::erase_if(cell.settings, [](const auto& setting) {
    return setting.first == "log.trace";
  });
  cell.settings.emplace_back("log.trace", trace.string());
  return cell;
}

}  // namespace

std::vector<StudyRun> runs_left(const ScaleStudy& study,
                                const std::vector<ScaleResult>& results,
                                bool retry) {
  const auto known = known_runs(study, results);
  std::vector<StudyRun> left;
  for (int repeat = 0; repeat < study.repeats; ++repeat) {
    for (std::size_t cell = 0; cell < study.cells.size(); ++cell) {
      const auto found = known.find({cell, repeat});
      const bool over =
          found != known.end() && (found->second->failed.empty() || !retry);
      if (!over) left.push_back({cell, repeat});
    }
  }
  if (retry) return left;
  // What fails by what it is is not tried for the second time by its repeats.
  std::erase_if(left, [&](const StudyRun& run) {
    return std::ranges::any_of(known, [&](const auto& other) {
      return other.first.cell == run.cell && comes_again(other.second->code);
    });
  });
  return left;
}

std::vector<ScaleResult> results_of(const ScaleStudy& study,
                                    const std::vector<ScaleResult>& results) {
  std::vector<ScaleResult> found;
  for (const auto& [run, result] : known_runs(study, results)) {
    found.push_back(*result);
  }
  return found;
}

ScaleRunner::ScaleRunner(const ScaleStudy& study,
                         const Launcher& launcher,
                         StudyFolder& folder,
                         Hooks hooks)
    : study_(study),
      launcher_(launcher),
      folder_(folder),
      hooks_(std::move(hooks)) {}

bool ScaleRunner::measure(const std::vector<StudyRun>& left) {
  left_ = left;
  all_ = study_.cells.size() * static_cast<std::size_t>(study_.repeats);
  finished_ = all_ - left.size();
  while (!left_.empty()) {
    if (hooks_.stop()) return false;
    const StudyRun run = left_.front();
    left_.erase(left_.begin());
    if (!measure_one(run)) return false;
  }
  return true;
}

ScaleResult ScaleRunner::begin_result(const StudyRun& run,
                                      const RunPlaces& places) const {
  const StudyCell& cell = study_.cells[run.cell];
  ScaleResult result;
  result.study = study_.name;
  result.cell = cell.name;
  result.model = cell.model;
  result.scaling = cell.scaling;
  result.dp = cell.dp;
  result.tp = cell.tp;
  result.ranks = cell.ranks();
  result.repeat = run.repeat;
  result.command = shell_text(launcher_.words_of(study_, cell, places));
  result.config_hash = study_.config_hash;
  result.version = fmt::format("{} {}", run::kVersion, run::kGitRevision);
  const auto settings = run::to_map(cell.options);
  result.plan = settings.at("parallel.plan");
  result.precision = settings.at("train.precision");
  result.zero = cell.options.parallel.zero;
  result.batch = cell.options.trainer.batch;
  result.micro_batch = cell.options.trainer.micro_batch;
  result.recompute = cell.options.model.recompute != model::Recompute::none;
  if (hooks_.predict) result.predicted = hooks_.predict(cell);
  return result;
}

std::filesystem::path ScaleRunner::folder_of(const StudyCell& cell) const {
  return folder_.path() / "cells" / cell.name;
}

/// False: stopped before its end. What fails here leaves the figure out.
bool ScaleRunner::measure_exposed(const StudyCell& cell, ScaleResult& result) {
  if (cell.ranks() == 1) {
    result.exposed_ms = 0;
    return true;
  }
  const RunPlaces places(folder_of(cell) / "traced");
  places.clear();
  const StudyCell traced =
      traced_cell(cell,
                  study_.skip + std::min(study_.steps, kTracedSteps) + 1,
                  places.trace);
  const End end = launcher_.run(study_, traced, places, hooks_.stop);
  const std::string why = why_failed(end, study_.minutes, places);
  if (end.stopped && !why.empty()) return false;
  if (!why.empty()) {
    hooks_.say(fmt::format("note     {}: no trace: {}", cell.name, why));
    return true;
  }
  try {
    const auto trace = places.trace_of_rank_0(cell.ranks());
    result.exposed_ms = exposed_ms(trace, study_.skip);
  } catch (const InputError& error) {  // of a disk that is full
    hooks_.say(
        fmt::format("note     {}: no trace: {}", cell.name, error.what()));
  }
  places.clear();
  return true;
}

bool ScaleRunner::measure_one(const StudyRun& run) {
  const StudyCell& cell = study_.cells[run.cell];
  const RunPlaces places(folder_of(cell) / std::to_string(run.repeat));
  places.clear();
  std::filesystem::create_directories(places.out.parent_path());
  ScaleResult result = begin_result(run, places);
  const End end = launcher_.run(study_, cell, places, hooks_.stop);
  result.code = end.code;
  result.failed = why_failed(end, study_.minutes, places);
  // One that came to its end all the same was measured.
  if (end.stopped && !result.failed.empty()) return false;
  try {
    if (result.failed.empty()) {
      read_run(places.out, study_.skip, result);
      if (run.repeat == 0 && study_.exposed && !measure_exposed(cell, result)) {
        return false;
      }
    }
  } catch (const InputError& error) {
    result.failed = error.what();
  }
  places.keep_figures();
  result.finished = train::utc_now();
  folder_.append(result);
  ++finished_;
  say(run, result, end.seconds);
  return true;
}

void ScaleRunner::say(const StudyRun& run,
                      const ScaleResult& result,
                      double seconds) {
  const std::string head = fmt::format("[{}/{}] {}, repeat {}: ",
                                       finished_,
                                       all_,
                                       result.cell,
                                       run.repeat);
  if (result.failed.empty()) {
    seconds_[run.cell] = seconds;
    hooks_.say(fmt::format("{}{:.4g} ms a step, {:.4g} {}s/s; {}",
                           head,
                           result.step_ms,
                           result.targets_per_s,
                           result.target,
                           time_left()));
    return;
  }
  std::string others;
  if (comes_again(result.code)) {
    const auto gone = std::erase_if(left_, [&](const StudyRun& other) {
      return other.cell == run.cell;
    });
    finished_ += gone;
    if (gone > 0) {
      others = fmt::format("; its other repeats ({}) are left out", gone);
    }
  }
  hooks_.say(fmt::format("{}FAILED with code {}: {}{}; {}",
                         head,
                         result.code,
                         result.failed,
                         others,
                         time_left()));
}

std::string ScaleRunner::time_left() const {
  if (left_.empty()) return "all done";
  if (seconds_.empty()) return fmt::format("{} left", left_.size());
  const double sum = std::accumulate(
      seconds_.begin(),
      seconds_.end(),
      0.0,
      [](double all, const auto& cell) { return all + cell.second; });
  const double mean = sum / static_cast<double>(seconds_.size());
  double rest = 0;
  for (const StudyRun& run : left_) {
    const auto found = seconds_.find(run.cell);
    rest += found == seconds_.end() ? mean : found->second;
  }
  return fmt::format("{} left, about {}", left_.size(), duration_text(rest));
}

}  // namespace mumoe::study

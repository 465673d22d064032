#include "study/loss/loss_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "run/version.h"
#include "study/scale/run_facts.h"
#include "study/scale/run_text.h"
#include "study/scale/study_settings.h"
#include "train/metrics.h"

namespace mumoe::study {
namespace {

namespace fs = std::filesystem;

bool has_checkpoint(const RunPlaces& places) {
  std::error_code error;
  return std::ranges::any_of(
      fs::directory_iterator(places.out / "checkpoints", error),
      [](const auto& entry) {
        return entry.path().filename().string().starts_with("step_");
      });
}

/// Loss and time of the run in `out`, by its metrics. Throws `InputError` where
/// it is not at its end.
void read_loss(const fs::path& out, const LossRun& run, LossResult& result) {
  const auto file = out / "metrics.jsonl";
  const auto steps = steps_in(file, run.first_step);
  result.seconds = 0;
  for (const auto& step : steps) {
    result.seconds += step.value("step_ms", 0.0) / 1e3;
  }
  const auto& last = steps.back();
  require(last["step"] == run.last_step,
          "{}: ends with step {}; expected {}",
          file.string(),
          last["step"].get<std::int64_t>(),
          run.last_step);
  if (run.budget == 0) return;
  const auto loss = last.find("val_loss");
  require(loss != last.end() && loss->is_number(),
          "{}: step {}: expected a finite val_loss",
          file.string(),
          run.last_step);
  result.loss = loss->get<double>();
}

}  // namespace

RunPlaces places_of(const LossRun& run, const fs::path& folder) {
  return RunPlaces(folder / "runs" / run.cell.name);
}

StudyCell started_cell(const LossStudy& study,
                       const LossRun& run,
                       const fs::path& folder) {
  StudyCell cell = run.cell;
  if (run.from) {
    const auto from = places_of(study.runs[*run.from], folder);
    cell.settings.emplace_back("train.branch", from.out.string());
  }
  return cell;
}

std::map<std::size_t, const LossResult*> known_losses(
    const LossStudy& study,
    const std::vector<LossResult>& results) {
  std::map<std::string, std::size_t> names;
  for (std::size_t i = 0; i < study.runs.size(); ++i) {
    names[study.runs[i].cell.name] = i;
  }
  std::map<std::size_t, const LossResult*> known;
  for (const LossResult& result : results) {
    const auto found = names.find(result.run);
    if (found == names.end()) continue;
    // Blanks at both ends: 12 is not a part of 120.
    const auto words =
        measured_words(study.common, study.runs[found->second].cell);
    const auto its = " " + shell_text(words) + " ";
    if (result.command.find(its) == result.command.npos) continue;
    const auto& hash = study.common.config_hash;
    if (result.config_hash.value_or(hash) != hash) {
      // What failed by its configuration may succeed by another.
      if (!result.failed.empty()) continue;
      refuse_config(study.common.config, result.run);
    }
    known[found->second] = &result;
  }
  return known;
}

std::vector<std::size_t> losses_left(const LossStudy& study,
                                     const std::vector<LossResult>& results,
                                     const fs::path& folder,
                                     bool retry) {
  const auto known = known_losses(study, results);
  std::set<std::size_t> left, needed;
  // Backwards: what is needed is known before it is asked about.
  for (std::size_t i = study.runs.size(); i-- > 0;) {
    const LossRun& run = study.runs[i];
    const auto found = known.find(i);
    const bool there = found != known.end() && found->second->failed.empty();
    const bool failed = found != known.end() && !there;
    const bool gone =
        there && needed.contains(i) && !has_checkpoint(places_of(run, folder));
    if (there ? !gone : failed && !retry) continue;
    left.insert(i);
    if (run.from) needed.insert(*run.from);
  }
  return {left.begin(), left.end()};
}

LossRunner::LossRunner(const LossStudy& study,
                       const Launcher& launcher,
                       LossFolder& folder,
                       Hooks hooks)
    : study_(study),
      launcher_(launcher),
      folder_(folder),
      hooks_(std::move(hooks)) {}

bool LossRunner::run(const std::vector<std::size_t>& left) {
  left_ = left;
  over_ = study_.runs.size() - left.size();
  there_.clear();
  for (const auto& [index, result] : known_losses(study_, folder_.results())) {
    if (result->failed.empty()) there_.insert(index);
  }
  for (const std::size_t index : left) there_.erase(index);
  drop_checkpoints();
  while (!left_.empty()) {
    if (hooks_.stop()) return false;
    const std::size_t index = left_.front();
    left_.erase(left_.begin());
    const auto from = study_.runs[index].from;
    if (from && !there_.contains(*from)) {
      ++over_;
      hooks_.say(fmt::format("[{}/{}] {}: left out: {} failed",
                             over_,
                             study_.runs.size(),
                             study_.runs[index].cell.name,
                             study_.runs[*from].cell.name));
      continue;
    }
    if (!run_one(index)) return false;
  }
  return true;
}

/// What an earlier try with other settings left is removed, what one with the
/// same left is gone on from.
void LossRunner::prepare(const StudyCell& cell, const RunPlaces& places) const {
  fs::create_directories(places.out.parent_path());
  fs::path said = places.out;
  said += ".settings";
  const std::string settings = shell_text(measured_words(study_.common, cell)) +
                               "\nconfig_hash " + study_.common.config_hash +
                               "\n";
  std::error_code error;
  if (fs::exists(said, error) && read_file(said) == settings) {
    return places.await_end();
  }
  places.clear();
  write_file_atomically(said, settings);
}

LossResult LossRunner::begin_result(const LossRun& run,
                                    const StudyCell& cell) const {
  const LossModel& model = study_.model_of(run);
  LossResult result;
  result.study = study_.common.name;
  result.run = cell.name;
  result.model = cell.model;
  result.form = model.form;
  result.seed = run.seed;
  result.branched = study_.branched;
  result.budget = run.budget;
  result.dp = cell.dp;
  result.tp = cell.tp;
  result.parameters = model.counts.parameters - model.counts.embeddings;
  result.embeddings = model.counts.embeddings;
  result.flops_per_target = model.counts.flops_per_target;
  result.target = model.target;
  result.first_step = run.first_step;
  result.last_step = run.last_step;
  result.targets = run.last_step * model.step_targets;
  result.loss = std::numeric_limits<double>::quiet_NaN();
  result.precision = run::to_map(cell.options).at("train.precision");
  const auto places = places_of(run, folder_.path());
  result.command = shell_text(launcher_.words_of(study_.common, cell, places));
  result.config_hash = study_.common.config_hash;
  result.version = fmt::format("{} {}", run::kVersion, run::kGitRevision);
  return result;
}

bool LossRunner::run_one(std::size_t index) {
  const LossRun& run = study_.runs[index];
  const auto places = places_of(run, folder_.path());
  const StudyCell cell = started_cell(study_, run, folder_.path());
  prepare(cell, places);
  LossResult result = begin_result(run, cell);
  const End end = launcher_.run(study_.common, cell, places, hooks_.stop);
  result.code = end.code;
  result.failed = why_failed(end, study_.common.minutes, places);
  // One that came to its end all the same is there.
  if (end.stopped && !result.failed.empty()) return false;
  try {
    if (result.failed.empty()) {
      const auto settled = run::read_config(places.out / "config.cfg");
      result.precision = run::to_map(settled).at("train.precision");
      read_loss(places.out, run, result);
    }
  } catch (const InputError& error) {
    result.failed = error.what();
  }
  result.finished = train::utc_now();
  folder_.append(result);
  ++over_;
  if (result.failed.empty()) there_.insert(index);
  drop_checkpoints();
  say(result, end.seconds);
  return true;
}

/// Of runs that nothing goes on from any more.
void LossRunner::drop_checkpoints() const {
  std::set<std::size_t> needed;
  for (std::size_t i = 0; i < study_.runs.size(); ++i) {
    const auto from = study_.runs[i].from;
    if (from && !there_.contains(i)) needed.insert(*from);
  }
  for (const std::size_t index : there_) {
    if (needed.contains(index)) continue;
    places_of(study_.runs[index], folder_.path()).keep_figures();
  }
}

void LossRunner::say(const LossResult& result, double seconds) {
  const std::string head =
      fmt::format("[{}/{}] {}: ", over_, study_.runs.size(), result.run);
  if (!result.failed.empty()) {
    hooks_.say(fmt::format("{}FAILED with code {}: {}; {}",
                           head,
                           result.code,
                           result.failed,
                           time_left()));
    return;
  }
  const std::string what =
      result.budget == 0
          ? fmt::format("steps {} to {}", result.first_step, result.last_step)
          : fmt::format("validation loss {:.4f}", result.loss);
  hooks_.say(fmt::format("{}{} in {}; {}",
                         head,
                         what,
                         duration_text(seconds),
                         time_left()));
}

/// By what a step of the same model took, or a FLOP of the others.
std::string LossRunner::time_left() const {
  if (left_.empty()) return "all done";
  std::map<std::string, std::pair<double, double>> of_model;  // s, FLOP
  std::pair<double, double> all{};
  for (const LossResult& result : folder_.results()) {
    if (!result.failed.empty() || !study_.models.contains(result.model)) {
      continue;
    }
    const double flops =
        static_cast<double>((result.last_step - result.first_step) *
                            study_.models.at(result.model).step_targets) *
        result.flops_per_target;
    for (auto* sum : {&of_model[result.model], &all}) {
      sum->first += result.seconds;
      sum->second += flops;
    }
  }
  const std::string count = fmt::format("{} left", left_.size());
  if (all.second <= 0) return count;
  double rest = 0;
  for (const std::size_t index : left_) {
    const LossRun& run = study_.runs[index];
    const LossModel& model = study_.model_of(run);
    const auto found = of_model.find(run.cell.model);
    const auto& [seconds, flops] =
        found != of_model.end() && found->second.second > 0 ? found->second
                                                            : all;
    rest += seconds / flops * model.counts.flops_per_target *
            static_cast<double>(run.steps() * model.step_targets);
  }
  return fmt::format("{}, about {}", count, duration_text(rest));
}

}  // namespace mumoe::study

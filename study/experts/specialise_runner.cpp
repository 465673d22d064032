#include "study/experts/specialise_runner.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "run/version.h"
#include "study/scale/run_facts.h"
#include "study/scale/run_text.h"
#include "train/metrics.h"

namespace mumoe::study {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

RunPlaces places_of(const SpecialiseCell& cell, const fs::path& folder) {
  return RunPlaces(folder / "runs" / cell.cell.name);
}

/// The last word on each cell, of those with its settings as they are now.
std::map<std::size_t, const SpecialiseResult*> known_heads(
    const SpecialiseStudy& study,
    const std::vector<SpecialiseResult>& results) {
  std::map<std::string, std::size_t> names;
  for (std::size_t i = 0; i < study.cells.size(); ++i) {
    names[study.cells[i].cell.name] = i;
  }
  std::map<std::size_t, const SpecialiseResult*> known;
  for (const SpecialiseResult& result : results) {
    const auto found = names.find(result.run);
    if (found == names.end()) continue;
    // Blanks at both ends: 12 is not a part of 120.
    const auto its =
        " " +
        shell_text(
            measured_words(study.common, study.cells[found->second].cell)) +
        " ";
    if (result.command.find(its) == result.command.npos) continue;
    known[found->second] = &result;
  }
  return known;
}

double number_of(const json& value) {
  return value.is_number() ? value.get<double>()
                           : std::numeric_limits<double>::quiet_NaN();
}

/// What the last step of the run in `out` says of validation.
void read_accuracy(const fs::path& out, SpecialiseResult& result) {
  const auto file = out / "metrics.jsonl";
  const auto steps = steps_in(file, 0);
  const json& last = steps.back();
  result.steps = last.value("step", std::int64_t{0});
  result.loss = number_of(last.value("val_loss", json()));
  result.accuracy = number_of(last.value("val_top1", json()));
  require(std::isfinite(result.accuracy),
          "{}: step {}: expected val_top1, a share",
          file.string(),
          result.steps);
}

/// What `mumoe study specialise` wrote to `file`.
void read_specialise(const fs::path& file, SpecialiseResult& result) {
  const json object = parse_json(read_file(file), file.string());
  try {
    const json& gate = object.at("gates").at(0);
    result.polysemanticity = number_of(gate.at("polysemanticity"));
    const json& interval = gate.at("interval");
    if (interval.is_array()) {
      result.low = number_of(interval.at(0));
      result.high = number_of(interval.at(1));
    }
    result.skipped = gate.at("skipped").get<std::int64_t>();
    for (const json& expert : gate.at("by_expert")) {
      result.dead += expert.at("active").get<std::int64_t>() == 0;
    }
  } catch (const json::exception& error) {
    fail<InputError>("{}: not as mumoe study specialise writes it ({})",
                     file.string(),
                     error.what());
  }
}

bool always_off() {
  return false;
}

}  // namespace

std::vector<std::size_t> heads_left(
    const SpecialiseStudy& study,
    const std::vector<SpecialiseResult>& results,
    bool retry) {
  const auto known = known_heads(study, results);
  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < study.cells.size(); ++i) {
    const auto found = known.find(i);
    const bool over =
        found != known.end() && (found->second->failed.empty() || !retry);
    if (!over) left.push_back(i);
  }
  return left;
}

std::vector<SpecialiseResult> results_of(
    const SpecialiseStudy& study,
    const std::vector<SpecialiseResult>& results) {
  std::vector<SpecialiseResult> found;
  for (const auto& [index, result] : known_heads(study, results)) {
    found.push_back(*result);
  }
  return found;
}

SpecialiseRunner::SpecialiseRunner(const SpecialiseStudy& study,
                                   const Launcher& launcher,
                                   SpecialiseFolder& folder,
                                   Hooks hooks)
    : study_(study),
      launcher_(launcher),
      folder_(folder),
      hooks_(std::move(hooks)) {
  if (!hooks_.stop) hooks_.stop = always_off;
}

bool SpecialiseRunner::run(const std::vector<std::size_t>& left) {
  left_ = left.size();
  over_ = study_.cells.size() - left.size();
  for (const std::size_t index : left) {
    if (hooks_.stop()) return false;
    if (!run_one(study_.cells[index])) return false;
  }
  return true;
}

SpecialiseResult SpecialiseRunner::begin_result(const SpecialiseCell& cell,
                                                const RunPlaces& places) const {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  SpecialiseResult result;
  result.study = study_.common.name;
  result.run = cell.cell.name;
  result.head = cell.head;
  result.experts = cell.experts;
  result.gate = cell.gate;
  result.norm = cell.norm;
  result.seed = cell.seed;
  result.dp = cell.cell.dp;
  result.tp = cell.cell.tp;
  result.parameters = cell.parameters;
  for (double* each : {&result.accuracy,
                       &result.loss,
                       &result.polysemanticity,
                       &result.low,
                       &result.high}) {
    *each = kNone;
  }
  result.command =
      shell_text(launcher_.words_of(study_.common, cell.cell, places));
  result.version = fmt::format("{} {}", run::kVersion, run::kGitRevision);
  return result;
}

bool SpecialiseRunner::look(const SpecialiseCell& cell,
                            const RunPlaces& places,
                            SpecialiseResult& result) const {
  fs::path said = places.out, seen = places.out;
  said += ".specialise.log";
  seen += ".specialise.json";
  std::vector<std::string> words = {(launcher_.scripts / "mpirun").string(),
                                    "-n",
                                    std::to_string(cell.cell.ranks())};
  words.insert(words.end(), launcher_.words.begin(), launcher_.words.end());
  const std::vector<std::string> asks = {launcher_.program.string(),
                                         "study",
                                         "specialise",
                                         "--run",
                                         places.out.string(),
                                         "--damage",
                                         study_.damage,
                                         "--json",
                                         seen.string(),
                                         "--parallel.dp",
                                         std::to_string(cell.cell.dp),
                                         "--parallel.tp",
                                         std::to_string(cell.cell.tp)};
  words.insert(words.end(), asks.begin(), asks.end());
  const End end = run_to_end({.words = words,
                              .output = said,
                              .limit = std::chrono::milliseconds(std::llround(
                                  study_.common.minutes * 60'000))},
                             hooks_.stop);
  result.study_s = end.seconds;
  result.code = end.code;
  RunPlaces asked = places;
  asked.log = said;
  result.failed = why_failed(end, study_.common.minutes, asked);
  if (end.stopped && !result.failed.empty()) return false;
  if (result.failed.empty()) read_specialise(seen, result);
  return true;
}

bool SpecialiseRunner::run_one(const SpecialiseCell& cell) {
  const RunPlaces places = places_of(cell, folder_.path());
  fs::create_directories(places.out.parent_path());
  places.clear();
  SpecialiseResult result = begin_result(cell, places);
  const End end = launcher_.run(study_.common, cell.cell, places, hooks_.stop);
  result.train_s = end.seconds;
  result.code = end.code;
  result.failed = why_failed(end, study_.common.minutes, places);
  if (end.stopped && !result.failed.empty()) return false;
  try {
    if (result.failed.empty()) {
      read_accuracy(places.out, result);
      if (cell.experts > 0 && !look(cell, places, result)) return false;
    }
  } catch (const InputError& error) {
    result.failed = error.what();
  }
  if (result.failed.empty()) places.keep_figures();
  result.finished = train::utc_now();
  folder_.append(result);
  ++over_;
  --left_;
  ++ran_;
  seconds_ += result.train_s + result.study_s;
  say(result);
  return true;
}

void SpecialiseRunner::say(const SpecialiseResult& result) {
  const std::string head =
      fmt::format("[{}/{}] {}: ", over_, study_.cells.size(), result.run);
  const std::string rest =
      left_ == 0
          ? "all done"
          : fmt::format("{} left, about {}",
                        left_,
                        duration_text(seconds_ / static_cast<double>(ran_) *
                                      static_cast<double>(left_)));
  if (!result.failed.empty()) {
    hooks_.say(fmt::format("{}FAILED with code {}: {}; {}",
                           head,
                           result.code,
                           result.failed,
                           rest));
    return;
  }
  const std::string poly =
      std::isfinite(result.polysemanticity)
          ? fmt::format(", polysemanticity {:.4f}", result.polysemanticity)
          : "";
  hooks_.say(fmt::format("{}accuracy {:.2f} %{} in {}; {}",
                         head,
                         100 * result.accuracy,
                         poly,
                         duration_text(result.train_s + result.study_s),
                         rest));
}

}  // namespace mumoe::study

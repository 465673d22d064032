#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "study/runs/run_metrics.h"

namespace mumoe::study {

/// What a run directory says of its run.
struct RunRecord {
  std::filesystem::path folder;
  std::string name = {};  ///< Of its folder; with more of the path where
                          ///< several have the same.
  RunMetrics metrics = {};
  std::map<std::string, std::string> settings = {};  ///< As settled.
  /// What it was made with, and of what, in order: "git_revision", "mesh.dp".
  std::vector<std::pair<std::string, std::string>> provenance = {};

  std::string setting(const std::string& key) const;
  std::string made_with(const std::string& name) const;
};

/// Reads metrics.jsonl, config.cfg, provenance.json and, for where it was
/// resumed, log.txt, which need not be there. Throws `InputError`, one line:
/// a folder that is no run directory, one without metrics, or a file of another
/// version or damaged, by its name and line.
RunRecord read_run_record(const std::filesystem::path& folder);

/// The same of several, with names that differ.
std::vector<RunRecord> read_run_records(
    std::span<const std::filesystem::path> folders);

/// What is told of a whole run in a row of a table.
struct RunSummary {
  std::int64_t steps = 0;
  double targets = 0;
  double elapsed_s = 0;
  double loss = 0;  ///< Mean of the last hundredth of its steps, at least 10.
  double best_loss = 0;        ///< Of evaluations; NaN: none.
  std::int64_t best_step = 0;  ///< 0: none.
  double last_loss = 0;        ///< Of the last evaluation; NaN: none.
  double step_ms = 0;          ///< Medians, without the first two steps.
  double targets_per_s = 0;
  double mfu = 0;
  double sol = 0;
  std::int64_t bad_steps = 0;
  std::int64_t failed_saves = 0;
  std::int64_t resumes = 0;
  double active = 0;     ///< Newest figures of experts; NaN: none.
  double effective = 0;  ///< Mean share of N.
  std::int64_t dead = 0;
  std::int64_t experts = 0;  ///< Of all gates.
};

RunSummary summary_of(const RunRecord& run);

}  // namespace mumoe::study

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "train/metrics.h"

namespace mumoe::study {

/// What is drawn of a step; NaN: its line does not say.
struct RunPoint {
  std::int64_t step = 0;
  double targets = 0;  ///< So far.
  double elapsed_s = 0;
  double loss = 0;
  double grad_norm = 0;
  double lr = 0;
  double step_ms = 0;
  double targets_per_s = 0;
  double mfu = 0;
  double sol = 0;
};

/// After a step.
struct RunEvaluation {
  RunPoint at;
  train::Evaluation found;
};

/// At a step.
struct RunExperts {
  std::int64_t step = 0;
  std::vector<train::ExpertFigures> gates;
};

/// Something of a step that is none of its figures.
struct RunEvent {
  std::int64_t step = 0;
  std::string what;  ///< "bad step", "failed save", "sample", ...
  std::string text;
};

/// What metrics.jsonl says of a run. Of a step that it has several times, the
/// last counts.
struct RunMetrics {
  std::string target = "token";
  std::vector<RunPoint> points;
  std::vector<RunEvaluation> evaluations;
  std::vector<RunExperts> experts;
  std::vector<RunEvent> events;
  double rss_mib = 0;  ///< Most of rank 0.
  double gpu_mib = 0;  ///< 0: no GPU.
  std::int64_t saves = 0;
  double save_stall_s = 0;   ///< That the run waited for them.
  std::string began, ended;  ///< When the first and last step ended.
  bool growing = false;      ///< Its last line is not all there.
};

/// Receives each line of a step, and each event.
struct MetricsReader {
  std::function<void(const train::StepReport&)> step;
  std::function<void(const RunEvent&)> event = [](const RunEvent&) {};
};

/// Reads `file`, a metrics.jsonl, from its first line on; half a line at its
/// end, which is being written, is left out. Returns whether there is one.
/// Throws `InputError` naming file and line: what is no step of a run.
bool read_metrics(const std::filesystem::path& file,
                  const MetricsReader& reader);

/// All of it. Throws `InputError` also where it has no step.
RunMetrics metrics_in(const std::filesystem::path& file);

}  // namespace mumoe::study

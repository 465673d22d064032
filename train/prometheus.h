#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "train/metrics.h"

namespace mumoe::train {

/// What is known of a run at a moment.
struct RunGauges {
  std::string run;             ///< The label of all values.
  std::int64_t last = 0;       ///< Where it ends.
  StepReport step = {};        ///< The last one.
  Evaluation evaluation = {};  ///< The last one, if `evaluated`.
  bool evaluated = false;
  /// Since the process began:
  std::int64_t bad_steps = 0;
  std::int64_t failed_saves = 0;
  std::int64_t rewinds = 0;
};

/// The text form in which Prometheus takes values, with # HELP and # TYPE of
/// each: mumoe_step, mumoe_loss, mumoe_tokens_per_second, mumoe_mfu,
/// mumoe_dead_experts{layer=...} and so on; ends with a line feed.
std::string prometheus_text(const RunGauges& gauges);

/// A file that always holds such a text whole, as the collector of text files
/// of Prometheus's node exporter reads it (it takes files called *.prom).
class PrometheusFile {
 public:
  /// Writes `path` at most once in `interval`, but for the last step.
  PrometheusFile(std::filesystem::path path,
                 std::string run,
                 std::int64_t last_step,
                 std::chrono::milliseconds interval = std::chrono::seconds(5));

  void step(const StepReport& report);
  void evaluated(const Evaluation& evaluation);
  void bad_step(bool rewinds);
  void failed_save();
  /// Writes what is not written yet.
  void finish();
  /// Why the file is not what it should be, naming it; empty: it is.
  const std::string& problem() const { return problem_; }

 private:
  void write();
  void write_if_due();

  std::filesystem::path path_;
  RunGauges gauges_;
  std::chrono::milliseconds interval_;
  std::optional<std::chrono::steady_clock::time_point> written_;
  bool changed_ = false;
  std::string problem_;
};

}  // namespace mumoe::train

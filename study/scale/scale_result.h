#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mumoe::study {

/// What the model of costs says of a cell, beside what was measured; the
/// interval holds nine of ten.
struct Predicted {
  double step_ms = 0;
  double low_ms = 0;
  double high_ms = 0;
  double memory_mib = 0;  ///< Of a rank.

  bool operator==(const Predicted&) const = default;
};

/// One run of one cell of a scaling study: one line of its results.jsonl.
struct ScaleResult {
  std::string study;
  std::string cell;  ///< Its name: "cp/2x1/strong".
  std::string model;
  std::string scaling;  ///< strong: one batch for all layouts; weak: a rank.
  int dp = 1;
  int tp = 1;
  int ranks = 1;
  int nodes = 1;
  std::string plan;
  int zero = 1;
  std::int64_t micro_batch = 0;  ///< Samples a rank holds at once.
  std::int64_t batch = 0;        ///< Samples of a step, all ranks.
  bool recompute = false;
  std::string precision;

  int repeat = 0;
  std::int64_t steps = 0;  ///< Measured ones, without those that were skipped.
  double step_ms = 0;      ///< Their median.
  std::vector<double> step_ms_all = {};
  std::string target = "token";  ///< Or "image".
  double targets_per_s = 0;      ///< All ranks, by the median step.
  double mfu = 0;                ///< Median.
  std::optional<double> sol = {};
  double rss_mib = 0;  ///< Largest, of rank 0.
  std::optional<double> gpu_mib = {};
  /// Payload of rank 0, a step: over dp, over tp, over all ranks.
  double dp_bytes = 0;
  double tp_bytes = 0;
  double all_bytes = 0;
  /// What a step waits for communication; none where it was not measured.
  std::optional<double> exposed_ms = {};
  double loss = 0;  ///< After the last step.
  std::int64_t parameters = 0;
  double flops_per_target = 0;  ///< Forward and backward.
  std::optional<Predicted> predicted = {};

  std::string command;  ///< What was run.
  /// Of the settings in the configuration of the study (`config_hash`).
  std::optional<std::string> config_hash = {};
  std::string version;   ///< Of the program.
  std::string finished;  ///< UTC in ISO 8601.
  /// Why it was not measured, one line; empty: it was.
  std::string failed = {};
  int code = 0;  ///< What the run ended with.

  bool operator==(const ScaleResult&) const = default;
};

/// One line of JSON without its end; null for what is not finite or not there.
std::string to_json(const ScaleResult& result);

/// What `line` says. Throws `InputError` that begins with `where` (file and
/// line) and names the member that is missing or of another type. Members that
/// it does not know are of a newer version, and left alone.
ScaleResult from_json(std::string_view line, const std::string& where);

/// A results.jsonl, read.
struct Results {
  std::vector<ScaleResult> results = {};
  /// Bytes of whole lines.
  std::uintmax_t whole = 0;
  /// One line that says what stands behind them; empty: nothing. A crash cuts
  /// the last line short.
  std::string note = {};
};

/// Reads a file of such lines; one that is not there has none. Throws
/// `InputError` naming file and line for any line but the last, and for a last
/// one that has its line end.
Results read_results(const std::filesystem::path& file);

}  // namespace mumoe::study

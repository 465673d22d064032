#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "run/checkpoint_saver.h"
#include "train/bad_steps.h"
#include "train/device_memory.h"
#include "train/evaluation.h"
#include "train/expert_figures.h"
#include "train/line_file.h"

namespace mumoe::train {

/// What one step was like. Bytes are this rank's communication payload.
struct StepReport {
  std::int64_t step = 0;  ///< Steps done, this one included.
  /// What a target is called, "token", in the names of the next and the rate.
  std::string target = "token";
  std::int64_t targets = 0;  ///< So far, all ranks.
  double loss = 0;           ///< Mean over the step's targets, nats.
  double grad_norm = 0;      ///< Before clipping.
  double lr = 0;
  double step_ms = 0;
  double targets_per_s = 0;
  /// Share of the measured matrix-multiplication rate of all ranks that the
  /// model's FLOPs make.
  double mfu = 0;
  /// Speed of light: the share of the step in which this rank's products would
  /// be done at its part of that rate. Counts all that it multiplies: what
  /// other ranks compute as well, and what is computed again in backward.
  double sol = 0;
  std::int64_t dp_bytes = 0;
  std::int64_t tp_bytes = 0;
  /// Sums over all ranks of what is whole on them (plan sequence).
  std::int64_t all_bytes = 0;
  double rss_mib = 0;
  /// Of this rank's GPU: most in tensors during the step, and what LibTorch has
  /// reserved; none on a CPU.
  std::optional<DeviceMemory> gpu = {};
  /// Of the run, up to the end of this step: what it took before it was
  /// resumed, too, but neither its starts nor what was lost.
  double elapsed_s = 0;
  /// When the step ended, UTC in ISO 8601: "2026-11-26T10:40:12.345Z".
  std::string time = {};
  /// The chain of the samples of all steps so far (data/sample_chain.h).
  std::optional<std::uint64_t> samples_hash = {};
  /// Mean share of active experts, over the blocks, tokens and ranks of the
  /// step; none in a dense model.
  std::optional<double> active_share = {};
  /// Of each gate, at the steps that `experts_every` says.
  std::vector<ExpertFigures> experts = {};
  /// After this step, if at all.
  std::optional<Evaluation> evaluation = {};
  /// What came of a checkpoint since the step before; rank 0's figures.
  std::optional<run::Saved> saved = {};
};

/// One line of JSON, numbers with 17 digits; null for what is not finite.
std::string to_json(const StepReport& report);
/// The same of an event: {"event":"bad_step","step":12,"action":"skip", ...}.
std::string to_json(const BadStepReport& bad);
/// The same of a checkpoint that could not be written:
/// {"event":"save_failed","step":12,"why":...}.
std::string save_failed_json(const run::Saved& failed);

/// The same of a text that the model wrote after a step:
/// {"event":"sample","step":12,"text":...}.
std::string sample_json(std::int64_t step, const std::string& text);

/// Throws `InputError` naming file and line unless a resumed run can go on with
/// `folder`/metrics.jsonl, which need not be there.
void require_metrics(const std::filesystem::path& folder);

/// `samples_hash` of step `step` in `folder`/metrics.jsonl, if it is there.
/// Throws `InputError` as `require_metrics` does.
std::optional<std::uint64_t> samples_hash_at(
    const std::filesystem::path& folder,
    std::int64_t step);

/// This moment as in `StepReport::time`.
std::string utc_now();

/// Appends reports to `folder`/metrics.jsonl; makes the folder if need be.
class MetricsFile {
 public:
  /// Keeps what the file says of steps up to `resumed_step` and drops the rest,
  /// which the resumed run writes again. Lines need no more than a step.
  /// Of events, it keeps those whose samples are among the first
  /// `resumed_samples` of the run: a run that goes back behind a bad step has
  /// had it; one that is resumed before it meets it again. What ended the run
  /// stays in any case. Throws `InputError` naming the file.
  MetricsFile(
      const std::filesystem::path& folder,
      std::int64_t resumed_step,
      std::int64_t resumed_samples = std::numeric_limits<std::int64_t>::max());
  /// The same of a run that goes back while it runs. Where the disk refuses,
  /// the file keeps what it has, and later lines stand behind that.
  void go_back(std::int64_t step, std::int64_t samples);
  void write(const StepReport& report);
  void write(const BadStepReport& bad);
  void write_failed_save(const run::Saved& failed);
  void write_sample(std::int64_t step, const std::string& text);
  /// Adds the evaluation after the last step to what the file says of it.
  void add(const Evaluation& evaluation);
  /// What the file says of the last step that it has: its number (0: of none),
  /// and its evaluation.
  std::int64_t last_step() const { return last_step_; }
  const std::optional<Evaluation>& evaluation() const { return evaluation_; }
  /// The time of the run that its lines, as found, tell of. Where they are of a
  /// version that did not write it, what their steps took.
  double elapsed_s() const { return elapsed_s_; }
  /// Makes what it has outlast a power cut, with the checkpoint that it goes
  /// with.
  void sync() { out_->sync(); }
  /// Why some of it waits in memory for the disk; empty: nothing does.
  const std::string& problem() const { return out_->problem(); }

 private:
  void keep(std::int64_t step, std::int64_t samples);
  void append(const std::string& line);
  void append_event(const std::string& line);

  std::filesystem::path path_;
  std::optional<LineFile> out_;
  std::string events_;  ///< The lines behind that of the last step.
  std::int64_t last_step_ = 0;
  std::optional<Evaluation> evaluation_;
  double elapsed_s_ = 0;
};

/// Resident memory of this process, MiB.
double resident_mib();

}  // namespace mumoe::train

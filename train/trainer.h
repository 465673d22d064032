#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/order.h"
#include "data/samples.h"
#include "data/sequence.h"
#include "dist/params/flat_buckets.h"
#include "dist/params/gradient_reducer.h"
#include "dist/process_mesh.h"
#include "model/model.h"
#include "run/damage.h"
#include "run/run_state.h"
#include "run/train_config.h"
#include "train/bad_steps.h"
#include "train/batches.h"
#include "train/checkpointing.h"
#include "train/expert_watch.h"
#include "train/metrics.h"
#include "train/mixing.h"
#include "train/optimizer.h"
#include "train/progress.h"
#include "train/run_feeds.h"
#include "train/sample_proof.h"

namespace mumoe::train {

/// What a trainer works with. Everything must outlive it.
struct TrainerParts {
  dist::ProcessMesh& mesh;
  const model::Model& model;
  dist::FlatBuckets& buckets;
  const data::Samples& train;
  const data::Samples& val;
  /// Whether this rank was asked to save and stop; asked once a micro-batch and
  /// once a batch of an evaluation.
  std::function<bool()> stop_requested = [] { return false; };
  /// Called at the end of each step with its number, on all ranks.
  std::function<void(std::int64_t step)> after_step = [](std::int64_t) {};
  /// Called on rank 0 with each line that a person is shown to stay.
  std::function<void(const std::string& line)> said = [](const std::string&) {};
  /// What one target is called.
  std::string target = "token";
  /// What a run takes when; null: `train` in the order that its seed gives.
  const data::Sequence* sequence = nullptr;
  /// Called on all ranks after each checkpoint with how long the run waited for
  /// it.
  std::function<void(double seconds)> after_save = [](double) {};
  /// A text of the model as it is, asked for after each evaluation; null: none.
  /// Called on all ranks, collective.
  std::function<std::string()> sample_text = nullptr;
};

enum class Outcome { done, preempted };

/// Runs steps, each in the numbered phases of `step`. Every rank makes one with
/// the same configuration; all functions are collective over the world.
class Trainer {
 public:
  Trainer(const run::TrainerConfig& config,
          const run::ScheduleConfig& schedule,
          const run::OptimizerConfig& optimizer,
          const TrainerParts& parts);

  /// The share of active experts at or below which blocks on a GPU that mix
  /// automatically read those alone, by the share of the step before. Without
  /// it they mix densely. A resumed run goes on with its own.
  void set_sparse_share(double share);
  /// Settings stored in checkpoints, for a resumed run to compare.
  void set_settings(std::map<std::string, std::string> settings) {
    state_.settings = std::move(settings);
  }
  /// Writes into the run directory `out`, which was not known before.
  void write_to(std::filesystem::path out) { config_.out = std::move(out); }
  /// Goes on from `checkpoint` instead of from the start. Its next step must
  /// take the samples that the checkpoint promises: `step` throws `InputError`
  /// on all ranks, before the weights change, if it has not.
  void resume(const std::filesystem::path& checkpoint);
  /// The same of a checkpoint of another run, whose steps so far become this
  /// one's: the run directory has nothing of them, nor of any other.
  void branch(const std::filesystem::path& checkpoint) {
    resume(checkpoint);
    branched_ = true;
  }

  /// The next step takes other samples than the checkpoint promises: other
  /// data, in another order, or another number of them.
  void take_other_samples() { other_samples_ = true; }

  /// Steps until `steps`, or until any rank is asked to stop, which takes
  /// effect within a micro-batch; saves and evaluates as configured, in this
  /// order. First makes the evaluation that a resumed run was stopped before.
  /// Steps that are bad (train/bad_steps.h) it leaves out or goes back behind
  /// as configured: back to the last checkpoint, with the samples that come
  /// after the bad step's. Throws `NonFiniteError` on all ranks, before the
  /// weights change, where it is to stop, has no checkpoint to go back to, or
  /// has had `BadRow::kMost` in a row.
  Outcome run();

  /// One optimizer step. The report has no evaluation. One that is left out
  /// counts as a step and its samples as taken; weights, buffers and the
  /// optimizer's state stay. Nothing, and all is as before, when any rank was
  /// asked to stop between two micro-batches: the step was given up; or when
  /// the run is to go back. Throws as `run`.
  std::optional<StepReport> step();

  const run::RunState& state() const { return state_; }
  /// The last evaluation.
  const std::optional<Evaluation>& evaluation() const { return evaluation_; }

 private:
  /// Of this rank's micro-batches of a step.
  struct Sums {
    at::Tensor loss;  ///< Where the model is, until the check has seen it.
    /// Shares, summed; on a GPU `active_` counts, until the check has seen it.
    double active = 0;
    std::int64_t coefficients = 0;
    std::uint64_t digest = 0;  ///< Of the samples that it took.
  };
  std::optional<Sums> accumulate();
  /// How much of a whole micro-batch number `micro` of a rank is.
  double share_of(std::int64_t micro) const;
  const data::Sequence& sequence() const {
    return parts_.sequence ? *parts_.sequence : ordered_;
  }
  model::Batch next_batch();
  void await_weights();
  /// What ranks must know of each other before the weights change.
  struct Agreement {
    double loss = 0;    ///< Mean over the step's targets.
    double active = 0;  ///< Mean share of active experts, if there are any.
    AgreedDigest taken = {};  ///< The samples of the step.
  };
  /// Also settles, for all ranks alike, whether to stop and to save.
  Agreement agree(const Sums& sums);
  // trainer_bad_steps.cpp:
  /// Sets `bad_` if the step under way is bad, and throws `NonFiniteError` if
  /// that ends the run. `loss`: this rank's own. Collective over the world.
  void judge(double loss, const Agreement& agreed, double norm);
  /// Finds ranks and samples of a bad step. Collective over the world.
  void locate(BadStepReport& bad, double loss) const;
  /// `step`, of which it says what was bad.
  std::optional<StepReport> step_noting(std::optional<MetricsFile>& metrics,
                                        Progress& progress);
  /// Goes back to the last checkpoint, behind the samples of the bad step.
  void rewind(std::optional<MetricsFile>& metrics);
  /// The newest checkpoint of this run that is not in `known`, as rank 0 finds
  /// it. Throws `NonFiniteError` on all ranks where there is none.
  std::filesystem::path newest_of_this_run(const run::Damage& known);
  /// Loads the newest whole checkpoint of this run, or throws
  /// `NonFiniteError`.
  void restore_newest();
  /// Running statistics, which forward passes update: keeps those before a
  /// step; restores them.
  void keep_buffers();
  void restore_buffers();

  /// Tells blocks on a GPU how to mix, by the share of active experts.
  void choose_mixing();
  void show(const StepReport& report, Progress& progress);
  /// Saves where the run stands, unless that is saved.
  void save(std::optional<MetricsFile>& metrics);
  /// Tells a person and metrics.jsonl what came of checkpoints since it was
  /// called last.
  void tell_of_rebuilt(Progress& progress);
  void tell_of_saves(std::optional<MetricsFile>& metrics, Progress& progress);
  /// Whether something that is done every so many steps is, after the last one.
  bool due(std::int64_t every) const;
  /// Whether an evaluation belongs to the last step.
  bool evaluation_due() const;
  /// What metrics.jsonl says of it, if this run goes on behind that step.
  std::optional<Evaluation> evaluated(
      const std::optional<MetricsFile>& metrics);
  void evaluate_now(std::optional<MetricsFile>& metrics, Progress& progress);
  /// Keeps what the model writes now, if that is asked for. Collective.
  void sample_now(std::optional<MetricsFile>& metrics);
  /// Calls `action` on rank 0. Its `InputError`, of a disk that refuses, is a
  /// warning, or thrown on all ranks: as checkpoint.on_failure says. Returns
  /// whether there was none. Collective.
  bool on_rank_0(const std::function<void()>& action);
  /// What checkpoints/best has, of a run that goes on.
  void read_best_loss();
  /// Makes the last checkpoint the best one if the last evaluation is.
  void keep_best(std::optional<MetricsFile>& metrics);
  /// FLOPs of this rank's products in a step.
  double products_of_step() const;
  /// `mfu` and `sol` of a report that has the time of its step.
  void rate(StepReport& report);

  run::TrainerConfig config_;
  run::ScheduleConfig schedule_;
  run::OptimizerConfig optimizer_config_;
  TrainerParts parts_;
  BatchPlan plan_;
  ExpertWatch experts_;
  data::Order order_;
  data::OrderedSamples ordered_;
  AdamW optimizer_;
  dist::GradientReducer reducer_;
  double sample_flops_;   ///< Forward and backward.
  double product_flops_;  ///< Of this rank's products in a step.
  run::RunState state_;
  Checkpointing checkpoints_;
  /// What came of checkpoints, and other warnings, and is not yet told.
  std::vector<run::Saved> news_;
  std::vector<std::string> warnings_;
  std::optional<RunFeeds> feeds_;  ///< On rank 0, while it runs.
  std::string feeds_problem_;      ///< That a person has been told of.
  /// The last checkpoint that is there, for the line of the next step.
  std::optional<run::Saved> saved_;
  bool metrics_wait_ = false;  ///< For the disk; a person has been told.
  std::optional<Batches> batches_;
  /// What was damaged there and rebuilt as it was read, until it is told.
  std::vector<std::string> rebuilt_;
  /// Where the run resumed, until its next step is made.
  std::filesystem::path resumed_;
  bool branched_ = false;  ///< Off a run that is kept elsewhere.
  bool other_samples_ = false;
  bool stop_ = false;
  bool save_due_ = false;
  /// Whether every rank is ready to go on with the checkpoint in the making.
  bool all_ready_ = false;
  bool sparse_seen_ = false;
  /// The last step, if it was bad.
  std::optional<BadStepReport> bad_;
  BadRow bad_row_;
  /// What the buckets of running statistics held before the step.
  std::vector<at::Tensor> buffers_;
  /// On a GPU: how many coefficients of the step were not zero, int64 [] there.
  at::Tensor active_;
  /// Of the last micro-batch of this rank.
  std::optional<MixingSummary> mixing_;
  std::optional<Evaluation> evaluation_;
  /// The loss of checkpoints/best, if there is one.
  std::optional<double> best_loss_;
};

}  // namespace mumoe::train

#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "data/order.h"
#include "data/samples.h"
#include "data/sequence.h"
#include "dist/params/flat_buckets.h"
#include "dist/params/gradient_reducer.h"
#include "dist/process_mesh.h"
#include "model/model.h"
#include "run/checkpoint.h"
#include "run/train_config.h"
#include "train/batches.h"
#include "train/metrics.h"
#include "train/mixing.h"
#include "train/optimizer.h"
#include "train/progress.h"
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

  /// Steps until `steps`, or until any rank is asked to stop, which takes
  /// effect within a micro-batch; saves and evaluates as configured, in this
  /// order. First makes the evaluation that a resumed run was stopped before.
  /// Throws `NonFiniteError` on all ranks, before the weights change, when the
  /// loss or the gradient norm is not finite.
  Outcome run();

  /// One optimizer step. The report has no evaluation. Nothing when any rank
  /// was asked to stop between two micro-batches: the step was given up, and
  /// weights and state are those before it.
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
  /// Tells blocks on a GPU how to mix, by the share of active experts.
  void choose_mixing();
  void show(const StepReport& report, Progress& progress);
  void save();
  /// Whether something that is done every so many steps is, after the last one.
  bool due(std::int64_t every) const;
  /// Whether an evaluation belongs to the last step.
  bool evaluation_due() const;
  /// What metrics.jsonl says of it, if this run goes on behind that step.
  std::optional<Evaluation> evaluated(
      const std::optional<MetricsFile>& metrics);
  void evaluate_now(std::optional<MetricsFile>& metrics, Progress& progress);
  /// What checkpoints/best has, of a run that goes on.
  void read_best_loss();
  /// Makes the last checkpoint the best one if the last evaluation is.
  void keep_best();
  /// Whether rank 0's clock asks for a checkpoint, of which it alone decides.
  bool time_to_save() const;
  double mfu(double samples_per_s);

  run::TrainerConfig config_;
  run::ScheduleConfig schedule_;
  run::OptimizerConfig optimizer_config_;
  TrainerParts parts_;
  BatchPlan plan_;
  data::Order order_;
  data::OrderedSamples ordered_;
  AdamW optimizer_;
  dist::GradientReducer reducer_;
  double sample_flops_;  ///< Forward and backward.
  run::RunState state_;
  std::optional<Batches> batches_;
  /// Where the run resumed, until its next step is made.
  std::filesystem::path resumed_;
  bool stop_ = false;
  bool save_due_ = false;
  bool sparse_seen_ = false;
  /// On a GPU: how many coefficients of the step were not zero, int64 [] there.
  at::Tensor active_;
  std::int64_t saved_step_ = 0;
  /// When the last checkpoint was written, or the run began.
  std::chrono::steady_clock::time_point saved_;
  /// Of the last micro-batch of this rank.
  std::optional<MixingSummary> mixing_;
  std::optional<Evaluation> evaluation_;
  /// The loss of checkpoints/best, if there is one.
  std::optional<double> best_loss_;
};

}  // namespace mumoe::train

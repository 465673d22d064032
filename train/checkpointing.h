#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "run/checkpoint_saver.h"
#include "run/optimizer_state.h"
#include "run/run_state.h"
#include "run/train_config.h"

namespace mumoe::train {

/// The checkpoints of one run: when one is due, and what becomes of it.
///
/// Collective over the world but for the questions. Not thread-safe.
class Checkpointing {
 public:
  /// `came` is called on all ranks with what came of each checkpoint. All must
  /// outlive it.
  Checkpointing(const run::TrainerConfig& config,
                dist::ProcessMesh& mesh,
                const dist::FlatBuckets& buckets,
                std::function<void(const run::Saved&)> came);

  /// From now on they go to `out`/checkpoints, unless it is empty: then none
  /// are made. The run stands at `step`, with nothing new.
  void open(const std::filesystem::path& out, std::int64_t step);
  /// The run stands at `step` again, of which there is a checkpoint.
  void go_back(std::int64_t step) { begun_ = kept_ = older_ = step; }
  /// The step of the last one of this run that is there: what it has made, or
  /// gone on from. 0: none, or there are no checkpoints.
  std::int64_t kept() const { return is_open() ? kept_ : 0; }
  bool is_open() const { return saver_.has_value(); }
  /// Whether there is nothing new since the last one that was begun.
  bool has(std::int64_t step) const { return !is_open() || step == begun_; }

  /// Whether rank 0's clock asks for one, of which it alone decides.
  bool time_to_save() const;
  /// Whether this rank has done its part of what the one in the making needs
  /// before ranks must agree again.
  bool ready() const { return saver_ && saver_->ready(); }
  /// Goes on with it, when all are ready: on all ranks alike.
  void advance();

  /// Makes one of `state`: it is there when this returns, unless it is written
  /// behind the run, or cannot be: then `came` is told, and `InputError` thrown
  /// if the configuration says so.
  void save(const run::RunState& state, const run::OptimizerState& optimizer);
  /// Waits until nothing is in the making.
  void finish();
  /// The same, at the end of a run that stands at `step`: throws `InputError`
  /// with the reason if there is no checkpoint of it.
  void finish_last(std::int64_t step);

 private:
  void take_result();

  const run::TrainerConfig& config_;
  dist::ProcessMesh& mesh_;
  const dist::FlatBuckets& buckets_;
  std::function<void(const run::Saved&)> came_;
  /// When the last one was begun, or the run.
  std::chrono::steady_clock::time_point when_;
  std::int64_t begun_ = 0;  ///< Step of the last one that was begun.
  std::int64_t kept_ = 0;   ///< Of the last one that is there.
  std::int64_t older_ = 0;  ///< Of the one before that.
  std::string failure_;     ///< Of the last one, if it is not there.
  std::optional<run::CheckpointSaver> saver_;
};

}  // namespace mumoe::train

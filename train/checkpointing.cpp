#include "train/checkpointing.h"

#include <utility>

#include "base/error.h"

namespace mumoe::train {

using Clock = std::chrono::steady_clock;

Checkpointing::Checkpointing(const run::TrainerConfig& config,
                             dist::ProcessMesh& mesh,
                             const dist::FlatBuckets& buckets,
                             std::function<void(const run::Saved&)> came)
    : config_(config), mesh_(mesh), buckets_(buckets), came_(std::move(came)) {}

void Checkpointing::open(const std::filesystem::path& out, std::int64_t step) {
  when_ = Clock::now();
  go_back(step);
  if (out.empty()) return;
  saver_.emplace(run::SaverConfig{.folder = out / "checkpoints",
                                  .keep = config_.checkpoint_keep,
                                  .async = config_.checkpoint_async,
                                  .parity = config_.checkpoint_parity > 0},
                 mesh_,
                 buckets_);
}

bool Checkpointing::time_to_save() const {
  const std::chrono::duration<double, std::ratio<60>> since =
      Clock::now() - when_;
  return is_open() && mesh_.control().rank() == 0 &&
         config_.checkpoint_minutes > 0 &&
         since.count() >= config_.checkpoint_minutes;
}

void Checkpointing::advance() {
  saver_->advance();
  take_result();
}

void Checkpointing::save(const run::RunState& state,
                         const run::OptimizerState& optimizer) {
  finish();
  mesh_.set_phase("checkpoint");
  begun_ = state.step;
  saver_->begin(state, optimizer);
  // What was copied is written behind the steps that follow.
  if (!config_.checkpoint_async) saver_->publish();
  when_ = Clock::now();
  take_result();
}

void Checkpointing::finish() {
  if (!saver_ || !saver_->busy()) return;
  mesh_.set_phase("checkpoint");
  // Twice: what is published may still be found damaged.
  saver_->publish();
  take_result();
  saver_->finish();
  take_result();
}

void Checkpointing::finish_last(std::int64_t step) {
  if (!saver_) return;
  finish();
  require(kept_ == step, "step {} is not saved: {}", step, failure_);
}

void Checkpointing::take_result() {
  const auto saved = saver_->take_result();
  if (!saved) return;
  failure_ = saved->failure;
  if (failure_.empty()) {
    older_ = std::exchange(kept_, saved->step);
  } else {
    // It may have been there, and found damaged.
    if (saved->step == kept_) kept_ = older_;
    begun_ = kept_;
  }
  came_(*saved);
  if (failure_.empty() ||
      config_.checkpoint_failure == run::SaveFailure::proceed) {
    return;
  }
  fail<InputError>("step {} is not saved: {}; checkpoint.on_failure = stop",
                   saved->step,
                   failure_);
}

}  // namespace mumoe::train

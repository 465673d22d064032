#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/error.h"
#include "data/sample_chain.h"
#include "dist/gather_text.h"
#include "run/newest_checkpoint.h"
#include "train/trainer.h"

// What a trainer does about bad steps.

namespace mumoe::train {
namespace {

/// Whether forward passes may change what is in `bucket`: buffers, which are in
/// the dtype of masters. Frozen weights stay as they are.
bool holds_buffers(const dist::Bucket& bucket) {
  return !bucket.trained && bucket.full_precision;
}

}  // namespace

void Trainer::judge(double loss, const Agreement& agreed, double norm) {
  if (config_.spike <= 0) state_.spikes.reset();
  if (config_.spike > 0 && !state_.spikes) state_.spikes.emplace();
  const std::int64_t step = state_.step + 1;
  std::string why = fault_of(agreed.loss,
                             norm,
                             state_.spikes.value_or(run::SpikeHistory{}),
                             config_.spike,
                             config_.spike_window);
  if (why.empty()) {
    bad_row_.good(step);
  } else {
    bad_ = {.step = step,
            .action = config_.bad_step,
            .loss = agreed.loss,
            .grad_norm = norm,
            .why = std::move(why),
            .first = state_.samples,
            .count = plan_.batch};
    locate(*bad_, loss);
    if (bad_row_.bad(step) >= BadRow::kMost) {
      bad_->action = run::BadStep::stop;
      bad_->why += fmt::format(", the last of {} in a row", BadRow::kMost);
    }
    if (bad_->action == run::BadStep::stop) {
      fail<NonFiniteError>("{}", describe(*bad_));
    }
  }
  const bool counts = !bad_ || bad_->action == run::BadStep::skip;
  if (state_.spikes && counts) {
    remember(*state_.spikes, agreed.loss, norm, config_.spike_window);
  }
}

void Trainer::locate(BadStepReport& bad, double loss) const {
  const dist::MeshShape mesh = parts_.mesh.shape();
  auto& world = parts_.mesh.control();
  const at::Tensor here = at::zeros({mesh.ranks()}, at::kLong);
  here[world.rank()] = std::isfinite(loss) ? 0 : 1;
  world.all_reduce(here);
  const bool anywhere = here.any().item<bool>();
  int counted = -1;  // the last place in dp
  for (int rank = 0; rank < mesh.ranks(); ++rank) {
    if (anywhere && here[rank].item<std::int64_t>() == 0) continue;
    bad.ranks.push_back(rank);
    const int place = mesh.place_in_dp(rank);
    // Ranks of a tp group, neighbours, took the same.
    if (std::exchange(counted, place) == place) continue;
    const SampleRun run = plan_.of_rank(place);
    for (std::int64_t i = 0; i < run.count; ++i) {
      const std::int64_t number = bad.first + run.begin + i;
      bad.indices.push_back(
          sequence().order().index(static_cast<std::uint64_t>(number)));
    }
  }
}

std::optional<StepReport> Trainer::step_noting(
    std::optional<MetricsFile>& metrics,
    Progress& progress) {
  try {
    auto report = step();
    if (bad_ && metrics) metrics->write(*bad_);
    if (bad_ && feeds_) feeds_->bad_step(*bad_);
    if (bad_) progress.note(describe(*bad_));
    return report;
  } catch (const NonFiniteError&) {
    if (bad_ && metrics) metrics->write(*bad_);
    throw;
  }
}

std::filesystem::path Trainer::newest_of_this_run(const run::Damage& known) {
  std::string path, problem;
  // Rank 0 looks for all: another host may see an older list.
  if (parts_.mesh.control().rank() == 0 && checkpoints_.kept() > 0) {
    try {
      // What another run has left is none of this one's.
      const auto newest = run::newest_checkpoint(config_.out / "checkpoints",
                                                 known,
                                                 checkpoints_.kept());
      if (newest && newest->state.step > 0) path = newest->path.string();
      if (newest) rebuilt_ = newest->damage;
    } catch (const InputError& error) {
      problem = fmt::format(" ({})", error.what());
    }
  }
  path = dist::gather_text(parts_.mesh.control(), path)[0];
  problem = dist::gather_text(parts_.mesh.control(), problem)[0];
  if (!path.empty()) return path;
  fail<NonFiniteError>(
      "step {}: {}; train.bad_step = rewind, but this run has no checkpoint to "
      "go back to{}; stopped before the weights changed",
      bad_->step,
      bad_->why,
      problem);
}

void Trainer::restore_newest() {
  checkpoints_.finish();
  run::past_damage([&](const run::Damage& known) {
    // As long as a checkpoint may take.
    parts_.mesh.set_phase("checkpoint");
    const auto newest = newest_of_this_run(known);
    auto damage = std::exchange(rebuilt_, {});
    resume(newest);
    rebuilt_.insert(rebuilt_.begin(), damage.begin(), damage.end());
  });
}

void Trainer::rewind(std::optional<MetricsFile>& metrics) {
  const std::int64_t next = bad_->first + bad_->count;
  restore_newest();
  state_.samples = next;
  // The promise was of the samples that are now left out.
  if (state_.taken) {
    state_.taken->next =
        data::expected_digest(sequence().order(), next, plan_.batch);
  }
  // The checkpoint is that of this step still: what resumes from it comes to
  // the bad step, and back, again.
  checkpoints_.go_back(state_.step);
  save_due_ = all_ready_ = false;
  evaluation_.reset();
  if (metrics) metrics->go_back(state_.step, state_.samples);
  if (feeds_) feeds_->go_back(state_.step);
}

void Trainer::keep_buffers() {
  const at::NoGradGuard no_grad;
  std::size_t kept = 0;
  for (const dist::Bucket& bucket : parts_.buckets.buckets()) {
    if (!holds_buffers(bucket)) continue;
    if (kept == buffers_.size()) {
      buffers_.push_back(at::empty_like(bucket.compute));
    }
    buffers_[kept++].copy_(bucket.compute);
  }
}

void Trainer::restore_buffers() {
  const at::NoGradGuard no_grad;
  std::size_t kept = 0;
  for (const dist::Bucket& bucket : parts_.buckets.buckets()) {
    if (holds_buffers(bucket)) bucket.compute.copy_(buffers_[kept++]);
  }
}

}  // namespace mumoe::train

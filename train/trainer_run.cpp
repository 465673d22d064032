#include <ATen/ATen.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "data/sample_chain.h"
#include "run/agreed_errors.h"
#include "run/best_checkpoint.h"
#include "train/evaluate.h"
#include "train/sample_proof.h"
#include "train/trainer.h"

// What a trainer does between steps: checkpoints, evaluations, the end.

namespace mumoe::train {

using Clock = std::chrono::steady_clock;

Outcome Trainer::run() {
  const bool shown = parts_.mesh.control().rank() == 0;
  // What the run directory tells of: of a branch nothing yet.
  const std::int64_t kept = branched_ ? 0 : state_.step;
  if (!resumed_.empty() && !branched_ && !config_.out.empty()) {
    require_same_history(config_.out, state_, parts_.mesh.control());
  }
  std::optional<MetricsFile> metrics;
  if (shown && !config_.out.empty()) {
    metrics.emplace(config_.out, kept, state_.samples);
  }
  if (shown) feeds_.emplace(config_, kept);
  Progress progress(shown,
                    config_.steps,
                    config_.log_every,
                    parts_.said,
                    config_.experts_line);
  if (!resumed_.empty() && !state_.taken) {
    progress.note(
        resumed_.string() +
        ": of an older version, which says nothing of the samples it took: "
        "those of the next step are not checked");
  }
  tell_of_rebuilt(progress);
  checkpoints_.open(config_.out, kept);
  auto began = Clock::now();
  double before = metrics ? metrics->elapsed_s() : 0;
  read_best_loss();
  if (evaluation_due()) evaluation_ = evaluated(metrics);
  if (evaluation_due() && !evaluation_) evaluate_now(metrics, progress);
  keep_best(metrics);
  while (state_.step < config_.steps && !stop_) {
    auto report = step_noting(metrics, progress);
    if (!report && bad_) {
      rewind(metrics);
      tell_of_rebuilt(progress);
      // What is lost is none of the run's time.
      began = Clock::now();
      before = metrics ? metrics->elapsed_s() : 0;
      continue;
    }
    if (report) {
      evaluation_.reset();
      report->time = utc_now();
      report->elapsed_s =
          before + std::chrono::duration<double>(Clock::now() - began).count();
      report->saved = std::exchange(saved_, std::nullopt);
      if (metrics) metrics->write(*report);
      if (feeds_) feeds_->step(*report);
      show(*report, progress);
    }
    // 7 checkpoint / evaluate / stop: nothing is lost while it evaluates
    if (std::exchange(all_ready_, false)) checkpoints_.advance();
    const bool last = config_.checkpoint_last && state_.step == config_.steps;
    const bool saves =
        stop_ || save_due_ || last || due(config_.checkpoint_every);
    if (saves) save(metrics);
    if (report && !stop_ && evaluation_due()) {
      evaluate_now(metrics, progress);
      keep_best(metrics);
    }
    if (stop_ && !saves) save(metrics);
    tell_of_saves(metrics, progress);
  }
  checkpoints_.finish();
  if (config_.checkpoint_last || stop_) {
    save(metrics);  // again, if it is not there
    checkpoints_.finish_last(state_.step);
  }
  tell_of_saves(metrics, progress);
  if (feeds_) feeds_->finish();
  // More, where the checkpoint that it goes on from has more than it is told.
  const bool whole = state_.step >= config_.steps && (evaluation_ || !stop_);
  return whole ? Outcome::done : Outcome::preempted;
}

void Trainer::show(const StepReport& report, Progress& progress) {
  progress.show(report);
  if (sparse_seen_ || !mixing_ || mixing_->sparse_blocks == 0) return;
  sparse_seen_ = true;
  progress.note(
      fmt::format("step {}: {}",
                  report.step,
                  describe_sparse_mixing(*mixing_, *report.active_share)));
}

bool Trainer::due(std::int64_t every) const {
  return every > 0 && state_.step % every == 0;
}

bool Trainer::evaluation_due() const {
  return state_.step > 0 &&
         (state_.step >= config_.steps || due(config_.eval_every));
}

std::optional<Evaluation> Trainer::evaluated(
    const std::optional<MetricsFile>& metrics) {
  std::optional<Evaluation> known;
  if (metrics && metrics->last_step() == state_.step) {
    known = metrics->evaluation();
  }
  // Negative: none.
  const auto e = known.value_or(Evaluation{});
  const at::Tensor said = at::tensor(
      {known ? 1.0 : -1.0, e.loss, e.top1.value_or(-1), e.top5.value_or(-1)},
      at::kDouble);
  parts_.mesh.control().broadcast(said, 0);
  const auto share = [&](int place) -> std::optional<double> {
    const double value = said[place].item<double>();
    return value < 0 ? std::nullopt : std::optional(value);
  };
  if (!share(0)) return std::nullopt;
  return Evaluation{said[1].item<double>(), share(2), share(3)};
}

void Trainer::evaluate_now(std::optional<MetricsFile>& metrics,
                           Progress& progress) {
  parts_.mesh.set_phase("evaluation");
  await_weights();
  evaluation_ = evaluate(parts_.model,
                         parts_.val,
                         config_.eval_windows,
                         plan_.micro_batch,
                         parts_.mesh,
                         parts_.buckets.registry().device(),
                         parts_.stop_requested);
  stop_ = !evaluation_;
  if (stop_) return;
  if (metrics && metrics->last_step() == state_.step) {
    metrics->add(*evaluation_);
  }
  if (feeds_) feeds_->evaluated(state_.step, *evaluation_);
  progress.note(fmt::format("step {}: validation loss {:.4f}{}",
                            state_.step,
                            evaluation_->loss,
                            describe_shares(*evaluation_)));
  sample_now(metrics);
}

void Trainer::sample_now(std::optional<MetricsFile>& metrics) {
  if (!parts_.sample_text) return;
  parts_.mesh.set_phase("sample");
  const std::string text = parts_.sample_text();
  if (metrics) metrics->write_sample(state_.step, text);
  if (feeds_) feeds_->sampled(state_.step, text);
}

void Trainer::save(std::optional<MetricsFile>& metrics) {
  // Given up in its first step, a run has nothing new.
  if (checkpoints_.has(state_.step)) return;
  // A checkpoint never knows of steps that the metrics may lose.
  if (metrics) metrics->sync();
  if (state_.taken) {
    state_.taken->next =
        data::expected_digest(sequence().order(), state_.samples, plan_.batch);
  }
  checkpoints_.save(state_, optimizer_.state());
}

void Trainer::tell_of_rebuilt(Progress& progress) {
  for (const std::string& line : std::exchange(rebuilt_, {})) {
    progress.note(line);
  }
}

void Trainer::tell_of_saves(std::optional<MetricsFile>& metrics,
                            Progress& progress) {
  for (const run::Saved& saved : std::exchange(news_, {})) {
    if (saved.failure.empty()) {
      saved_ = saved;
      // What one at the end takes: until it is there and read again; and
      // behind a run another may still be in the making.
      parts_.after_save(saved.seconds * (config_.checkpoint_async ? 4 : 2));
    } else {
      progress.note(fmt::format("warning: step {} is not saved: {}",
                                saved.step,
                                saved.failure));
      if (metrics) metrics->write_failed_save(saved);
      if (feeds_) feeds_->failed_save();
    }
    if (!saved.note.empty()) progress.note("warning: " + saved.note);
  }
  for (const std::string& warning : std::exchange(warnings_, {})) {
    progress.note("warning: " + warning);
  }
  const std::string feeds = feeds_ ? feeds_->problem() : "";
  if (feeds != feeds_problem_ && !feeds.empty()) {
    progress.note("warning: " + feeds);
  }
  feeds_problem_ = feeds;
  const std::string problem = metrics ? metrics->problem() : "";
  if (std::exchange(metrics_wait_, !problem.empty()) || problem.empty()) return;
  progress.note("warning: " + problem);
}

bool Trainer::on_rank_0(const std::function<void()>& action) {
  auto& world = parts_.mesh.control();
  try {
    run::agree_on_errors(world, [&] {
      if (world.rank() == 0) action();
    });
    return true;
  } catch (const InputError& error) {
    if (config_.checkpoint_failure == run::SaveFailure::stop) throw;
    warnings_.emplace_back(error.what());
    return false;
  }
}

void Trainer::read_best_loss() {
  if (!config_.checkpoint_best || config_.out.empty()) return;
  constexpr double kNone = std::numeric_limits<double>::infinity();
  const at::Tensor loss = at::full({}, kNone, at::kDouble);
  const auto folder = config_.out / "checkpoints";
  // What another run has left is none of this one's.
  if (state_.step > 0 && !branched_) {
    on_rank_0([&] {
      const auto best = run::read_best(folder);
      if (best) loss.fill_(best->val_loss);
    });
  }
  parts_.mesh.control().broadcast(loss, 0);
  if (loss.item<double>() < kNone) best_loss_ = loss.item<double>();
}

void Trainer::keep_best(std::optional<MetricsFile>& metrics) {
  if (!config_.checkpoint_best || config_.out.empty() || !evaluation_) return;
  const bool lower = std::isfinite(evaluation_->loss) &&
                     (!best_loss_ || evaluation_->loss < *best_loss_);
  if (!lower) return;
  save(metrics);
  // To the end: what is kept must have been read again.
  checkpoints_.finish();
  if (checkpoints_.kept() != state_.step) return;  // it could not be written
  parts_.mesh.set_phase("checkpoint");
  const bool kept = on_rank_0([&] {
    run::keep_best(config_.out / "checkpoints",
                   {state_.step, evaluation_->loss});
  });
  if (!kept) return;
  best_loss_ = evaluation_->loss;
}

}  // namespace mumoe::train

#include "train/trainer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "data/batch.h"
#include "dist/params/gradient_norm.h"
#include "train/evaluate.h"
#include "train/schedule.h"

namespace mumoe::train {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start)
      .count();
}

/// "step 12: experts are mixed sparsely (9.1 % active)"
std::string describe_sparse_mixing(const StepReport& report,
                                   const model::MixingSummary& mixing) {
  return fmt::format("step {}: experts are mixed sparsely{} ({:.1f} % active)",
                     report.step,
                     mixing.sparse_blocks == mixing.blocks
                         ? ""
                         : fmt::format(" in {} of {} blocks",
                                       mixing.sparse_blocks,
                                       mixing.blocks),
                     100 * report.active_share.value_or(1));
}

}  // namespace

Trainer::Trainer(const run::TrainerConfig& config,
                 const run::ScheduleConfig& schedule,
                 const run::OptimizerConfig& optimizer,
                 const TrainerParts& parts)
    : config_(config),
      schedule_(schedule),
      optimizer_config_(optimizer),
      parts_(parts),
      plan_(BatchPlan::make(config.batch,
                            config.micro_batch,
                            parts.mesh.dp().size())),
      sampler_(config.seed, parts.train, parts.model.config().context),
      optimizer_(optimizer, parts.buckets),
      reducer_(parts.buckets, {.wire = config.wire}) {
  config_.validate();
  schedule_.validate();
  // Now, not after the last step: the validation tokens must suffice.
  data::evaluation_windows(parts.val,
                           parts.model.config().context,
                           config.eval_windows);
}

void Trainer::resume(const std::filesystem::path& checkpoint) {
  auto settings = std::move(state_.settings);
  state_ = run::load_checkpoint(checkpoint, parts_.buckets, optimizer_.state());
  optimizer_.set_steps(state_.step);
  state_.settings = std::move(settings);
  batches_.reset();
}

StepReport Trainer::step() {
  const auto start = Clock::now();
  auto& mesh = parts_.mesh;
  const auto dp_bytes = mesh.dp().total_bytes();
  const auto tp_bytes = mesh.tp().total_bytes();
  const auto all_bytes = mesh.dp_tp().total_bytes();
  const std::int64_t step_tokens = plan_.batch * parts_.model.config().context;
  if (!batches_) {
    batches_ =
        std::make_unique<TokenBatches>(parts_.train,
                                       sampler_,
                                       plan_,
                                       mesh.dp().rank(),
                                       state_.samples,
                                       parts_.buckets.registry().device());
  }

  // On the device of the losses: no step waits for it before the check.
  at::Tensor loss_sum =
      at::zeros({},
                at::TensorOptions(at::kDouble)
                    .device(parts_.buckets.registry().device()));
  double active = 0;
  for (std::int64_t micro = 0; micro < plan_.micro_steps; ++micro) {
    // 1 load
    mesh.set_phase("load");
    const at::Tensor tokens = batches_->next();
    // 2 forward: the mean over all target tokens of the step
    mesh.set_phase("forward");
    const at::Tensor loss =
        parts_.model.loss(tokens, 1.0 / static_cast<double>(step_tokens));
    mixing_ = parts_.model.last_mixing();
    if (mixing_) active += mixing_->active;
    // 3 backward: buckets are reduced while it runs
    mesh.set_phase("backward");
    reducer_.begin(/*last=*/micro + 1 == plan_.micro_steps);
    loss.backward();
    loss_sum += loss.detach().to(at::kDouble);
  }
  reducer_.finish();

  // 4 check: all ranks see the same numbers, so all decide the same
  mesh.set_phase("check");
  const double share = 1.0 / mesh.tp().size();
  const at::Tensor status =
      at::stack({loss_sum.cpu() * share,
                 at::full({}, parts_.stop_requested() ? 1.0 : 0.0, at::kDouble),
                 at::full({}, active, at::kDouble),
                 at::full({}, time_to_save() ? 1.0 : 0.0, at::kDouble)});
  mesh.control().all_reduce(status);
  const double mean_loss = status[0].item<double>();
  stop_ = status[1].item<double>() > 0;
  save_due_ = status[3].item<double>() > 0;
  const double norm = dist::gradient_norm(parts_.buckets, mesh);
  if (!std::isfinite(mean_loss) || !std::isfinite(norm)) {
    fail<NonFiniteError>(
        "step {}: loss {}, gradient norm {}; stopped before the weights "
        "changed",
        state_.step + 1,
        mean_loss,
        norm);
  }

  // 5 update
  mesh.set_phase("update");
  const double lr = learning_rate(schedule_, state_.step);
  optimizer_.step(lr, clip_factor(norm, optimizer_config_.clip));
  ++state_.step;
  state_.samples += plan_.batch;

  // 6 report
  mesh.set_phase("report");
  StepReport report;
  report.step = state_.step;
  report.tokens = state_.samples * parts_.model.config().context;
  report.loss = mean_loss;
  report.grad_norm = norm;
  report.lr = lr;
  report.step_ms = milliseconds_since(start);
  report.tokens_per_s =
      1000.0 * static_cast<double>(step_tokens) / report.step_ms;
  report.mfu = mfu(report.tokens_per_s);
  report.dp_bytes = mesh.dp().total_bytes() - dp_bytes;
  report.tp_bytes = mesh.tp().total_bytes() - tp_bytes;
  report.all_bytes = mesh.dp_tp().total_bytes() - all_bytes;
  report.rss_mib = resident_mib();
  if (mixing_) {
    report.active_share =
        status[2].item<double>() /
        static_cast<double>(plan_.micro_steps * mesh.control().size());
  }
  parts_.after_step(state_.step);
  return report;
}

Outcome Trainer::run() {
  const bool writes = parts_.mesh.control().rank() == 0 && !config_.out.empty();
  std::optional<MetricsFile> metrics;
  if (writes) metrics.emplace(config_.out, state_.step);
  Progress progress(parts_.mesh.control().rank() == 0,
                    config_.steps,
                    config_.log_every);
  const auto due = [&](std::int64_t every) {
    return every > 0 && state_.step % every == 0;
  };
  bool sparse_seen = false;
  saved_ = Clock::now();
  while (state_.step < config_.steps && !stop_) {
    StepReport report = step();
    // 7 evaluate / checkpoint / stop
    const bool last = state_.step == config_.steps;
    if (last || (!stop_ && due(config_.eval_every))) {
      evaluate_now();
      report.val_loss = val_loss_;
    }
    if (metrics) metrics->write(report);
    progress.show(report);
    if (!sparse_seen && mixing_ && mixing_->sparse_blocks > 0) {
      sparse_seen = true;
      progress.note(describe_sparse_mixing(report, *mixing_));
    }
    if (report.val_loss) {
      progress.note(fmt::format("step {}: validation loss {:.4f}",
                                report.step,
                                *report.val_loss));
    }
    if (last || stop_ || save_due_ || due(config_.checkpoint_every)) {
      save();
    }
  }
  return state_.step < config_.steps ? Outcome::preempted : Outcome::done;
}

void Trainer::evaluate_now() {
  parts_.mesh.set_phase("evaluation");
  val_loss_ = evaluate(parts_.model,
                       parts_.val,
                       config_.eval_windows,
                       plan_.micro_batch,
                       parts_.mesh,
                       parts_.buckets.registry().device());
}

void Trainer::save() {
  if (config_.out.empty()) return;
  parts_.mesh.set_phase("checkpoint");
  run::save_checkpoint(config_.out / "checkpoints",
                       state_,
                       parts_.buckets,
                       optimizer_.state(),
                       parts_.mesh,
                       config_.checkpoint_keep);
  saved_ = Clock::now();
}

bool Trainer::time_to_save() const {
  const std::chrono::duration<double, std::ratio<60>> since =
      Clock::now() - saved_;
  return parts_.mesh.control().rank() == 0 && config_.checkpoint_minutes > 0 &&
         since.count() >= config_.checkpoint_minutes;
}

double Trainer::mfu(double tokens_per_s) {
  if (config_.peak_flops <= 0) return 0;
  const double flops =
      tokens_per_s * model::flops_per_token(parts_.model.config());
  config_.peak_flops = std::max(config_.peak_flops, flops);
  return flops / config_.peak_flops;
}

}  // namespace mumoe::train

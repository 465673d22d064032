#include "train/trainer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/sample_chain.h"
#include "dist/params/gradient_norm.h"
#include "mumoe/kernels/kernel_watch.h"
#include "run/load_checkpoint.h"
#include "train/any_rank.h"
#include "train/sample_proof.h"
#include "train/schedule.h"

namespace mumoe::train {
namespace {

using Clock = std::chrono::steady_clock;

/// Time and this rank's payload from its construction on.
class StepMeter {
 public:
  StepMeter(dist::ProcessMesh& mesh, at::Device device)
      : mesh_(mesh), device_(device) {
    begin_peak(device_);
  }

  void read(StepReport& report) const {
    report.step_ms =
        std::chrono::duration<double, std::milli>(Clock::now() - start_)
            .count();
    report.dp_bytes = mesh_.dp().total_bytes() - dp_bytes_;
    report.tp_bytes = mesh_.tp().total_bytes() - tp_bytes_;
    report.all_bytes = mesh_.dp_tp().total_bytes() - all_bytes_;
    report.rss_mib = resident_mib();
    report.gpu = device_memory(device_);
  }

 private:
  dist::ProcessMesh& mesh_;
  at::Device device_;
  Clock::time_point start_ = Clock::now();
  std::int64_t dp_bytes_ = mesh_.dp().total_bytes();
  std::int64_t tp_bytes_ = mesh_.tp().total_bytes();
  std::int64_t all_bytes_ = mesh_.dp_tp().total_bytes();
};

/// A sample that counts nothing would still be in the statistics.
void require_whole_batches(const BatchPlan& plan,
                           std::span<const MuMoEBlock* const> blocks) {
  for (const MuMoEBlock* block : blocks) {
    require(!plan.has_empty_micro_batches() ||
                block->config().gate.norm != GateNorm::batch,
            "train.micro_batch = {}: the last one of some of the {} "
            "data-parallel ranks would be empty, which statistics of a batch "
            "do not allow; expected at least 2, or ranks that divide "
            "train.batch = {}",
            plan.micro_batch,
            plan.ranks,
            plan.batch);
  }
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
      experts_(parts.model.mixtures(),
               parts.mesh,
               parts.buckets.registry().device()),
      order_(config.seed, parts.train.size()),
      ordered_(parts.train, order_),
      optimizer_(optimizer, parts.buckets),
      reducer_(parts.buckets,
               {.wire = config.wire,
                .sinks = kernels::like_gpu(parts.buckets.registry().device())}),
      sample_flops_(
          parts.model.cost(1, parts.buckets.registry().device()).flops),
      product_flops_(products_of_step()),
      checkpoints_(
          config_,
          parts.mesh,
          parts.buckets,
          [this](const run::Saved& saved) { news_.push_back(saved); }) {
  config_.validate();
  schedule_.validate();
  const auto blocks = parts.model.mixtures();
  require_whole_batches(plan_, blocks);
  state_.taken.emplace();
  const at::Device device = parts.buckets.registry().device();
  if (!kernels::like_gpu(device) || blocks.empty()) return;
  active_ = at::zeros({}, at::TensorOptions(at::kLong).device(device));
  for (const MuMoEBlock* block : blocks) block->count_active(active_);
}

void Trainer::resume(const std::filesystem::path& checkpoint) {
  run::Loaded loaded = run::load_checkpoint(checkpoint,
                                            parts_.buckets,
                                            optimizer_.state(),
                                            parts_.mesh.control());
  auto settings = std::move(state_.settings);
  const auto mixing = state_.mixing;
  state_ = std::move(loaded.state);
  rebuilt_ = std::move(loaded.rebuilt);
  optimizer_.set_steps(state_.step - state_.skipped);
  state_.settings = std::move(settings);
  // Of a run on a CPU there is none.
  if (!mixing || !state_.mixing) state_.mixing = mixing;
  choose_mixing();
  batches_.reset();
  resumed_ = checkpoint;
}

void Trainer::set_sparse_share(double share) {
  if (!kernels::like_gpu(parts_.buckets.registry().device())) return;
  state_.mixing = {.sparse_share = share};
  choose_mixing();
}

void Trainer::choose_mixing() {
  if (!state_.mixing) return;
  const bool sparse = state_.mixing->active <= state_.mixing->sparse_share;
  for (const MuMoEBlock* block : parts_.model.mixtures()) {
    block->mix_on_gpu(sparse ? Mixing::sparse : Mixing::dense);
  }
}

std::optional<StepReport> Trainer::step() {
  auto& mesh = parts_.mesh;
  const StepMeter meter(mesh, parts_.buckets.registry().device());
  const std::int64_t targets = plan_.batch * parts_.train.targets_per_sample();
  bad_.reset();
  const std::int64_t look = config_.experts_every;
  if (look > 0 && (state_.step + 1) % look == 0) experts_.begin();
  // 1 load, 2 forward, 3 backward, for each micro-batch
  auto sums = accumulate();
  if (!sums) return std::nullopt;

  // 4 check: all ranks see the same numbers, so all decide the same
  mesh.set_phase("check");
  // One look at the device, for which the host waits: the only one of a step.
  std::vector<at::Tensor> parts{sums->loss.view({1}),
                                dist::gradient_squares(parts_.buckets)};
  if (active_.defined()) parts.push_back(active_.to(at::kDouble).view({1}));
  const at::Tensor seen = at::cat(parts).cpu();
  sums->loss = seen[0];
  if (active_.defined()) {
    double whole = 0;
    for (std::int64_t m = 0; m < plan_.micro_steps; ++m) whole += share_of(m);
    sums->active = whole * seen[2].item<double>() /
                   static_cast<double>(sums->coefficients);
  }
  const Agreement agreed = agree(*sums);
  const double norm = dist::norm_of_squares(seen.narrow(0, 1, 1), mesh);
  if (!resumed_.empty() && state_.taken && !other_samples_) {
    require_promised(agreed.taken,
                     state_.taken->next,
                     state_.step + 1,
                     resumed_);
  }
  judge(sums->loss.item<double>(), agreed, norm);
  if (bad_ && bad_->action == run::BadStep::rewind) {
    restore_buffers();
    batches_.reset();
    return std::nullopt;
  }

  // 5 update
  mesh.set_phase("update");
  const double lr = learning_rate(schedule_, state_.step);
  if (bad_) {
    restore_buffers();
    ++state_.skipped;
  } else {
    optimizer_.step(lr, clip_factor(norm, optimizer_config_.clip));
  }
  ++state_.step;
  state_.samples += plan_.batch;
  if (!state_.taken) state_.taken.emplace();
  state_.taken->chain = data::chained(state_.taken->chain, agreed.taken.digest);
  resumed_.clear();
  other_samples_ = false;
  if (state_.mixing && !bad_) state_.mixing->active = agreed.active;
  choose_mixing();

  // 6 report
  mesh.set_phase("report");
  StepReport report{
      .step = state_.step,
      .target = parts_.target,
      .targets = state_.samples * parts_.train.targets_per_sample(),
      .loss = agreed.loss,
      .grad_norm = norm,
      .lr = lr,
      .samples_hash = state_.taken->chain};
  meter.read(report);
  report.targets_per_s = 1000.0 * static_cast<double>(targets) / report.step_ms;
  rate(report);
  if (mixing_) report.active_share = agreed.active;
  if (bad_) experts_.drop();
  report.experts = experts_.finish();
  parts_.after_step(state_.step);
  return report;
}

std::optional<Trainer::Sums> Trainer::accumulate() {
  auto& mesh = parts_.mesh;
  const std::int64_t targets = plan_.batch * parts_.train.targets_per_sample();
  // On the device of the losses: no step waits for it before the check.
  Sums sums{at::zeros({},
                      at::TensorOptions(at::kDouble)
                          .device(parts_.buckets.registry().device()))};
  if (active_.defined()) active_.zero_();
  keep_buffers();
  for (std::int64_t micro = 0; micro < plan_.micro_steps; ++micro) {
    const bool last = micro + 1 == plan_.micro_steps;
    // 1 load
    mesh.set_phase("load");
    const model::Batch batch = next_batch();
    // 2 forward: the mean over all targets of the step
    mesh.set_phase("forward");
    await_weights();
    // A rank without a sample left goes through the same motions.
    const double share = share_of(micro);
    experts_.count(share > 0);
    if (share > 0) sums.digest += batches_->digest();
    const at::Tensor loss =
        parts_.model.loss(batch,
                          share > 0 ? 1.0 / static_cast<double>(targets) : 0.0);
    mixing_ = last_mixing(parts_.model);
    if (mixing_) {
      sums.active += mixing_->active * share;
      sums.coefficients += mixing_->coefficients;
    }
    // 3 backward: buckets are reduced while it runs
    mesh.set_phase("backward");
    std::optional<AnyRank> stop;  // after the last one the check asks
    if (!last) stop.emplace(parts_.stop_requested(), mesh.control());
    reducer_.begin(last);
    loss.backward();
    sums.loss += loss.detach().to(at::kDouble);
    if (stop && stop->answer()) {
      stop_ = true;
      restore_buffers();
      batches_.reset();
      return std::nullopt;
    }
  }
  reducer_.finish();
  return sums;
}

void Trainer::await_weights() {
  if (!parts_.model.awaits_weights()) parts_.buckets.await();
}

double Trainer::share_of(std::int64_t micro) const {
  const auto run = plan_.of_micro_batch(parts_.mesh.dp().rank(), micro);
  return static_cast<double>(run.count) /
         static_cast<double>(plan_.micro_batch);
}

model::Batch Trainer::next_batch() {
  if (!batches_) {
    batches_.emplace(
        sequence(),
        deal_training(plan_, parts_.mesh.dp().rank(), state_.samples),
        parts_.buckets.registry().device());
  }
  return batches_->next();
}

Trainer::Agreement Trainer::agree(const Sums& of_rank) {
  auto& world = parts_.mesh.control();
  const int tp = parts_.mesh.tp().size();
  std::vector<at::Tensor> parts{of_rank.loss * (1.0 / tp)};
  const auto add = [&](double number) {
    parts.push_back(at::full({}, number, at::kDouble));
  };
  add(parts_.stop_requested() ? 1.0 : 0.0);
  add(of_rank.active);
  add(checkpoints_.time_to_save() ? 1.0 : 0.0);
  add(checkpoints_.ready() ? 1.0 : 0.0);
  for (const double part :
       digest_parts(of_rank.digest, parts_.mesh.tp().rank())) {
    add(part);
  }
  const at::Tensor reduced = at::stack(parts);
  world.all_reduce(reduced);
  const std::span sums(reduced.const_data_ptr<double>(), parts.size());
  stop_ = sums[1] > 0;
  save_due_ = sums[3] > 0;
  all_ready_ = sums[4] == world.size();
  // Of all ranks, in whole micro-batches.
  const double micro_batches = static_cast<double>(plan_.batch * tp) /
                               static_cast<double>(plan_.micro_batch);
  return {sums[0], sums[2] / micro_batches, agreed_digest(sums.subspan(5), tp)};
}

double Trainer::products_of_step() const {
  // Micro-batches are of two sizes at most.
  std::map<std::int64_t, std::int64_t> times;
  for (std::int64_t m = 0; m < plan_.micro_steps; ++m) {
    const auto samples = plan_.of_micro_batch(parts_.mesh.dp().rank(), m).count;
    ++times[std::max<std::int64_t>(samples, 1)];
  }
  double flops = 0;
  for (const auto& [samples, count] : times) {
    const auto cost =
        parts_.model.cost(samples, parts_.buckets.registry().device());
    flops +=
        static_cast<double>(count) * (cost.rank_flops + cost.repeated_flops);
  }
  return flops;
}

void Trainer::rate(StepReport& report) {
  if (config_.peak_flops <= 0) return;
  const double seconds = report.step_ms / 1000;
  const double model =
      static_cast<double>(plan_.batch) * sample_flops_ / seconds;
  // As if all ranks multiplied as much as this one.
  const double products =
      parts_.mesh.control().size() * product_flops_ / seconds;
  config_.peak_flops = std::max({config_.peak_flops, model, products});
  report.mfu = model / config_.peak_flops;
  report.sol = products / config_.peak_flops;
}

}  // namespace mumoe::train

#include "study/predict/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "base/error.h"
#include "base/number.h"
#include "model/families.h"
#include "study/predict/model_work.h"

namespace mumoe::study {
namespace {

constexpr at::DeviceType kGpu = at::kCUDA;

// What a process takes of a GPU before it has a tensor: the driver's context,
// kernels, and NCCL's buffers for its three groups. An assumption.
constexpr double kContext = 1.5e9;
/// Of the memory of a GPU, what an allocator can fill.
constexpr double kFillable = 0.95;
// How far a step may be from what rates that nobody has measured of this
// program say of it: the standard deviation of the logarithm.
constexpr double kUnmeasured = 0.18;
/// Standard deviations to either side that hold nine of ten.
constexpr double kNineOfTen = 1.645;

std::vector<int> divisors(int number) {
  std::vector<int> found;
  for (int i = 1; i <= number; ++i) {
    if (number % i == 0) found.push_back(i);
  }
  return found;
}

/// What a rank could hold at once: what its samples divide into.
std::vector<std::int64_t> micro_batches(std::int64_t batch, int dp) {
  const std::int64_t most = (batch + dp - 1) / dp;
  // Else ranks have unequal numbers, which are held at once.
  if (batch % dp != 0) return {most};
  std::vector<std::int64_t> found;
  for (std::int64_t size = 1; size <= most; ++size) {
    if (most % size == 0) found.push_back(size);
  }
  return found;
}

template <class T>
std::vector<T> either(const std::optional<T>& wanted, std::vector<T> all) {
  return wanted ? std::vector<T>{*wanted} : std::move(all);
}

std::vector<RunLayout> layouts_of(const run::Options& options,
                                  int ranks,
                                  const WantedLayout& wanted) {
  using model::Recompute;
  std::vector<Recompute> recomputes = {Recompute::none};
  const bool mixes =
      model::has_mixtures(model::family(options.family), options.model);
  if (mixes) recomputes.push_back(Recompute::mixture);
  if (options.family == "gpt2") recomputes.push_back(Recompute::everything);
  std::vector<RunLayout> layouts;
  for (const int tp : either(wanted.tp, divisors(ranks))) {
    if (ranks % tp != 0) continue;
    const int dp = ranks / tp;
    if (wanted.dp && *wanted.dp != dp) continue;
    std::vector<Plan> plans = {Plan::sequence, Plan::bottleneck};
    if (mixes) plans.push_back(Plan::rank);
    if (tp == 1) plans = {wanted.plan.value_or(Plan::sequence)};
    for (const Plan plan : tp == 1 ? plans : either(wanted.plan, plans)) {
      for (const int zero :
           either(wanted.zero,
                  ranks > 1 ? std::vector{1, 0} : std::vector{1})) {
        for (const auto micro :
             either(wanted.micro_batch,
                    micro_batches(options.trainer.batch, dp))) {
          for (const auto recompute : either(wanted.recompute, recomputes)) {
            layouts.push_back({dp, tp, plan, zero, micro, recompute});
          }
        }
      }
    }
  }
  return layouts;
}

Prediction around(double seconds) {
  const double spread = std::exp(kNineOfTen * kUnmeasured);
  return {seconds, seconds / spread, seconds * spread};
}

/// Samples a second and shares of the peak, once the step is known.
void set_shares(PlannedRun& planned,
                const run::Options& options,
                double peak_flops) {
  const double seconds = planned.step.seconds;
  const int ranks = planned.layout.ranks();
  const auto batch = static_cast<double>(options.trainer.batch);
  const auto micro_steps = static_cast<double>(planned.cost.batch.micro_steps);
  planned.samples_per_s = batch / seconds;
  const model::PassCost& pass = planned.cost.cost.pass;
  const double a_sample =
      pass.flops / static_cast<double>(planned.cost.batch.micro_batch);
  planned.mfu = a_sample * batch / (seconds * peak_flops * ranks);
  planned.speed_of_light = (pass.rank_flops + pass.repeated_flops) *
                           micro_steps / (seconds * peak_flops);
}

void judge(PlannedRun& planned,
           const run::Options& options,
           const Machine& machine,
           at::ScalarType dtype,
           bool tp_across_nodes) {
  const RunLayout& layout = planned.layout;
  require(tp_across_nodes || layout.tp <= machine.gpus_per_node,
          "tp = {} crosses nodes of {} (parallel.tp_across_hosts = no)",
          layout.tp,
          machine.gpus_per_node);
  planned.cost = cost_of_run(options, layout, dtype, at::Device(kGpu, 0));
  planned.memory_bytes = planned.cost.memory.model() + kContext;
  require(planned.memory_bytes <= kFillable * machine.memory_bytes,
          "needs {} of a GPU's memory, of which {} can be filled",
          size_text(planned.memory_bytes),
          size_text(kFillable * machine.memory_bytes));
  planned.parts = step_time(model_work(options, planned.cost, layout, machine),
                            machine,
                            Rates{});
  planned.step = around(planned.parts.total());
  set_shares(planned, options, machine.peak_flops);
}

void judge_here(PlannedRun& planned,
                const run::Options& options,
                const OwnPredictor& predictor,
                at::ScalarType dtype,
                double memory) {
  const RunLayout& layout = planned.layout;
  OwnRun run{.name = {}, .options = options, .layout = layout, .dtype = dtype};
  run.options.model.recompute = layout.recompute;
  planned.cost = cost_of_run(options, layout, dtype, at::kCPU);
  planned.memory_bytes = predictor.memory_bytes(run);
  const double all = planned.memory_bytes * layout.ranks();
  require(all <= memory,
          "needs {} of this machine's memory, which has {}",
          size_text(all),
          size_text(memory));
  planned.step = predictor.predict(run);
  planned.parts = predictor.by_rates(run);
  const double corrected = planned.step.seconds / planned.parts.total();
  for (double* part : {&planned.parts.products,
                       &planned.parts.passes,
                       &planned.parts.launches,
                       &planned.parts.tp,
                       &planned.parts.dp,
                       &planned.parts.host}) {
    *part *= corrected;
  }
  set_shares(planned, options, predictor.peak_flops(dtype));
}
/// All of `layouts`, by `judge`, which throws `InputError` for what cannot be.
Plans plans_of(const std::vector<RunLayout>& layouts,
               const std::function<void(PlannedRun&)>& judge) {
  Plans plans;
  for (const RunLayout& layout : layouts) {
    PlannedRun planned{.layout = layout};
    try {
      judge(planned);
      plans.possible.push_back(std::move(planned));
    } catch (const InputError& error) {
      planned.refused = error.what();
      plans.refused.push_back(std::move(planned));
    }
  }
  std::ranges::stable_sort(plans.possible, {}, [](const PlannedRun& planned) {
    return planned.step.seconds;
  });
  return plans;
}

}  // namespace

Plans plan_run(const run::Options& options,
               const Machine& machine,
               int ranks,
               at::ScalarType dtype,
               const WantedLayout& wanted) {
  return plans_of(layouts_of(options, ranks, wanted), [&](PlannedRun& planned) {
    judge(planned, options, machine, dtype, wanted.tp_across_nodes);
  });
}

Plans plan_here(const run::Options& options,
                const OwnPredictor& predictor,
                int ranks,
                at::ScalarType dtype,
                double memory,
                const WantedLayout& wanted) {
  return plans_of(layouts_of(options, ranks, wanted), [&](PlannedRun& planned) {
    judge_here(planned, options, predictor, dtype, memory);
  });
}

}  // namespace mumoe::study

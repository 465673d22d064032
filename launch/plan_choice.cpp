#include "launch/plan_choice.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <limits>

#include "base/error.h"
#include "dist/bandwidth.h"
#include "mumoe/plan_cost.h"
#include "train/token_batches.h"

namespace mumoe::launch {
namespace {

constexpr Plan kPlans[] = {Plan::sequence, Plan::bottleneck, Plan::rank};

PlanChoice to_choice(Plan plan) {
  switch (plan) {
    case Plan::sequence:
      return PlanChoice::sequence;
    case Plan::bottleneck:
      return PlanChoice::bottleneck;
    case Plan::rank:
      return PlanChoice::rank;
  }
  return PlanChoice::automatic;
}

/// What the estimate of a plan's time rests on.
struct Circumstances {
  int ranks;                ///< of the tp group
  double flops;             ///< of one rank, a second
  dist::Bandwidth link;     ///< of the tp group
  double element_bytes;     ///< of activations
  double gradient_bytes;    ///< of an element of a gradient
  double tokens;            ///< of a tp group in a micro-batch
  double tokens_of_a_step;  ///< of a tp group
};

/// Seconds for a token in one block, forward and backward.
double seconds(const PlanCost& cost, const Circumstances& c) {
  const double compute = 6 * cost.macs / c.flops;
  const double factor = dist::bus_factor(dist::Op::all_reduce, c.ranks);
  const double bytes = cost.elements * c.element_bytes +
                       cost.whole * c.gradient_bytes / c.tokens_of_a_step;
  return compute + factor * bytes / c.link.bytes_per_s +
         cost.operations * c.link.latency_s / c.tokens;
}

ChosenPlan fastest(const model::Gpt2Config& model, const Circumstances& c) {
  const BlockConfig block = model.block();
  ChosenPlan chosen;
  double least = std::numeric_limits<double>::infinity();
  std::string others;
  for (const Plan plan : kPlans) {
    if (plan == Plan::sequence && model.context % c.ranks != 0) continue;
    const double time =
        seconds(plan_cost(block.shape(), block.ranks, plan, c.ranks), c);
    others += fmt::format("{}{} {:.2f}",
                          others.empty() ? "" : ", ",
                          to_string(plan),
                          1e6 * time);
    if (time >= least) continue;
    least = time;
    chosen.plan = plan;
  }
  chosen.reason = fmt::format(
      "estimated us a token and block: {}; measured {:.2f} GB/s, {:.0f} us and "
      "{:.0f} GFLOP/s a rank",
      others,
      c.link.bytes_per_s / 1e9,
      1e6 * c.link.latency_s,
      c.flops / 1e9);
  return chosen;
}

ChosenPlan automatic(const Options& options,
                     const dist::ProcessMesh& mesh,
                     const Compute& compute,
                     double peak_flops) {
  const model::Gpt2Config& model = options.model;
  if (model.mlp == model::MlpKind::dense) {
    return {model.context % mesh.tp().size() == 0 ? Plan::sequence
                                                  : Plan::bottleneck,
            "a dense MLP is cut in one way; tokens are where they divide"};
  }
  const auto batch = train::BatchPlan::make(options.trainer.batch,
                                            options.trainer.micro_batch,
                                            mesh.dp().size());
  const auto context = static_cast<double>(model.context);
  return fastest(
      model,
      {.ranks = mesh.tp().size(),
       .flops = peak_flops / mesh.world().size(),
       .link = dist::measure_bandwidth(mesh.tp(), 8 << 20, compute.device),
       .element_bytes = static_cast<double>(c10::elementSize(compute.dtype)),
       .gradient_bytes = compute.dtype == at::kDouble ? 8.0 : 4.0,
       .tokens = context * static_cast<double>(batch.micro_batch),
       .tokens_of_a_step = context * static_cast<double>(batch.per_rank)});
}

}  // namespace

ChosenPlan choose_plan(Options& options,
                       const dist::ProcessMesh& mesh,
                       const Compute& compute,
                       double peak_flops) {
  ChosenPlan chosen;
  if (options.parallel.plan != PlanChoice::automatic) {
    for (const Plan plan : kPlans) {
      if (to_choice(plan) == options.parallel.plan) chosen.plan = plan;
    }
  } else if (mesh.tp().size() > 1) {
    chosen = automatic(options, mesh, compute, peak_flops);
    const at::Tensor plan =
        at::full({1}, static_cast<int>(chosen.plan), at::kLong);
    mesh.world().broadcast(plan, 0);
    chosen.plan = static_cast<Plan>(plan.item<std::int64_t>());
  }
  options.model.validate_sharding({chosen.plan, &mesh.tp()});
  // With one tp rank there is nothing to choose, and another layout may.
  if (mesh.tp().size() > 1) options.parallel.plan = to_choice(chosen.plan);
  return chosen;
}

}  // namespace mumoe::launch

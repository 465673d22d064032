#include "launch/plan_choice.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "dist/gather_text.h"
#include "dist/watch/bandwidth.h"
#include "launch/figures.h"
#include "mumoe/plan_cost.h"

namespace mumoe::launch {
namespace {

/// In the order in which they are preferred.
constexpr Plan kPlans[] = {Plan::sequence, Plan::bottleneck, Plan::rank};

/// By how much a plan must be faster than one that is preferred: estimates that
/// are nearly equal would change the choice from run to run.
constexpr double kClearPlan = 1.15;

/// Whether all ranks of a tp group compute something from the same numbers,
/// the gradients of whole parameters above all, and rely on the same bits.
bool repeats_work(Plan plan) {
  return plan != Plan::sequence;
}

/// Plans that can cut the model of `options`, once `require_layout` has let it
/// pass.
std::vector<Plan> possible_plans(const run::Options& options,
                                 int ranks,
                                 const std::string& unequal_cpus) {
  const bool dense = options.model.dense;
  std::vector<Plan> plans;
  for (const Plan plan : kPlans) {
    if (plan == Plan::sequence && options.model.context % ranks != 0) continue;
    if (plan == Plan::rank && dense) continue;
    if (repeats_work(plan) && !unequal_cpus.empty()) continue;
    plans.push_back(plan);
  }
  return plans;
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

ChosenPlan fastest(const model::Gpt2Config& model,
                   const std::vector<Plan>& plans,
                   const Circumstances& c) {
  const BlockConfig block = model.block();
  ChosenPlan chosen;
  double least = std::numeric_limits<double>::infinity();  // of the chosen one
  std::string others;
  for (const Plan plan : plans) {
    const double time =
        seconds(plan_cost(block.shape(), block.ranks, plan, c.ranks), c);
    others += fmt::format("{}{} {:.2f}",
                          others.empty() ? "" : ", ",
                          to_string(plan),
                          1e6 * time);
    if (kClearPlan * time >= least) continue;
    least = time;
    chosen.plan = plan;
  }
  chosen.reason = fmt::format(
      "estimated us a token and block: {}, the first unless another is {} "
      "times as fast; measured {:.2f} GB/s, {:.0f} us and {:.0f} GFLOP/s a "
      "rank",
      others,
      kClearPlan,
      c.link.bytes_per_s / 1e9,
      1e6 * c.link.latency_s,
      c.flops / 1e9);
  return chosen;
}

/// The link of a tp group, measured when this machine first does such a run.
dist::Bandwidth tp_link(const run::Options& options,
                        const dist::ProcessMesh& mesh,
                        const Compute& compute) {
  Figures figures(fmt::format("link of {} tp ranks among {} on {}, {} {}",
                              mesh.tp().size(),
                              mesh.control().size(),
                              cpu_name(),
                              run::to_map(options).at("parallel.backend"),
                              options.parallel.link),
                  "",
                  mesh.control());
  const auto values = figures.get("latency and bandwidth", 2, [&] {
    const auto link =
        dist::measure_bandwidth(mesh.tp(), 8 << 20, compute.device);
    return Figures::Values{link.latency_s, link.bytes_per_s};
  });
  return {.latency_s = values[0], .bytes_per_s = values[1]};
}

ChosenPlan automatic(const run::Options& options,
                     const dist::ProcessMesh& mesh,
                     const Compute& compute,
                     const train::BatchPlan& batch,
                     const std::vector<Plan>& plans) {
  const model::Gpt2Config& model = options.model;
  if (model.dense) {
    return {plans.front(),
            "a dense MLP is cut in one way; tokens are where they divide"};
  }
  const auto context = static_cast<double>(model.context);
  return fastest(
      model,
      plans,
      {.ranks = mesh.tp().size(),
       .flops = options.trainer.peak_flops / mesh.control().size(),
       .link = tp_link(options, mesh, compute),
       .element_bytes = static_cast<double>(c10::elementSize(compute.dtype)),
       .gradient_bytes = compute.dtype == at::kDouble ? 8.0 : 4.0,
       .tokens = context * static_cast<double>(batch.micro_batch),
       .tokens_of_a_step = context * static_cast<double>(batch.per_rank)});
}

/// What speaks against the plan that is asked for, of several tp ranks.
void require_plan(const run::Options& options,
                  int ranks,
                  const std::string& unequal_cpus) {
  const auto& plan = options.parallel.plan;
  require(plan || options.parallel.backend != run::BackendChoice::null,
          "parallel.plan = auto: parallel.backend = null has no link to "
          "measure; expected sequence, bottleneck or rank");
  require(plan != Plan::rank || !options.model.dense,
          "parallel.plan = rank: a dense MLP has no rank; expected sequence or "
          "bottleneck");
  const auto possible = possible_plans(options, ranks, unequal_cpus);
  const bool found =
      plan ? std::ranges::count(possible, *plan) > 0 : !possible.empty();
  require(found,
          "parallel.plan = {}: ranks of a tp group compute the same and must "
          "round alike, but {}; expected the plan sequence{}, or the same "
          "MUMOE_ISA and OMP_NUM_THREADS on like CPUs",
          plan ? to_string(*plan) : "auto",
          unequal_cpus,
          plan ? "" : " (tokens that divide by parallel.tp)");
}

}  // namespace

std::string find_unequal_cpus(dist::Communicator& world,
                              const std::vector<dist::RankPlace>& places) {
  const auto mine = fmt::format("{} ({} in libraries), {} threads",
                                to_string(best_isa()),
                                at::get_cpu_capability(),
                                at::get_num_threads());
  const auto cpus = dist::gather_text(world, mine);
  std::map<int, std::size_t> firsts;  // rank of each tp group, by place in dp
  for (std::size_t rank = 0; rank < cpus.size(); ++rank) {
    const auto first = firsts.try_emplace(places[rank].dp, rank).first->second;
    if (cpus[rank] == cpus[first]) continue;
    return fmt::format("rank {} has {}, rank {} has {}",
                       first,
                       cpus[first],
                       rank,
                       cpus[rank]);
  }
  return {};
}

train::BatchPlan require_layout(const run::Options& options,
                                const dist::ProcessMesh& mesh,
                                const std::string& unequal_cpus) {
  auto batch = train::BatchPlan::make(options.trainer.batch,
                                      options.trainer.micro_batch,
                                      mesh.dp().size());
  // Of the plans that `auto` may find, bottleneck asks for the least.
  run::name_keys({"parallel", "model"}, [&] {
    options.model.validate_sharding(
        {options.parallel.plan.value_or(Plan::bottleneck), &mesh.tp()});
  });
  if (mesh.tp().size() > 1) {
    require_plan(options, mesh.tp().size(), unequal_cpus);
  }
  return batch;
}

ChosenPlan choose_plan(const run::Options& options,
                       const dist::ProcessMesh& mesh,
                       const Compute& compute,
                       const train::BatchPlan& batch,
                       const std::string& unequal_cpus) {
  if (options.parallel.plan) return {*options.parallel.plan};
  const int ranks = mesh.tp().size();
  // With one tp rank there is nothing to choose, and another layout may.
  if (ranks == 1) return {};
  ChosenPlan chosen = automatic(options,
                                mesh,
                                compute,
                                batch,
                                possible_plans(options, ranks, unequal_cpus));
  const at::Tensor sent =
      at::full({1}, static_cast<int>(chosen.plan), at::kLong);
  mesh.control().broadcast(sent, 0);
  chosen.plan = static_cast<Plan>(sent.item<std::int64_t>());
  return chosen;
}

std::string ChosenPlan::describe(const dist::ProcessMesh& mesh) const {
  if (mesh.tp().size() == 1) return {};
  return fmt::format("plan     {}{}",
                     to_string(plan),
                     reason.empty() ? "" : " (" + reason + ")");
}

}  // namespace mumoe::launch

#include "launch/plan_choice.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "dist/gather_text.h"
#include "launch/figures.h"
#include "model/families.h"

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

bool can_cut(const run::Options& options,
             const Sharding& sharding,
             std::int64_t micro_batch) {
  try {
    model::family(options.family)
        .validate_sharding(options.model, sharding, micro_batch);
    return true;
  } catch (const InputError&) {
    return false;
  }
}

/// Plans that can cut the model of `options`, once `require_layout` has let it
/// pass.
std::vector<Plan> possible_plans(const run::Options& options,
                                 const dist::ProcessMesh& mesh,
                                 std::int64_t micro_batch,
                                 const std::string& unequal_cpus) {
  const bool dense =
      !model::has_mixtures(model::family(options.family), options.model);
  std::vector<Plan> plans;
  for (const Plan plan : kPlans) {
    if (!can_cut(options, {plan, &mesh.tp()}, micro_batch)) continue;
    if (plan == Plan::rank && dense) continue;
    if (repeats_work(plan) && !unequal_cpus.empty()) continue;
    plans.push_back(plan);
  }
  return plans;
}

/// What a step under `plan` costs: of the model on the meta device, which takes
/// no memory.
model::Cost cost_of_plan(const run::Options& options,
                         const dist::ProcessMesh& mesh,
                         const Compute& compute,
                         const train::BatchPlan& batch,
                         Plan plan) {
  dist::ParameterRegistry registry(mesh.tp(),
                                   compute.dtype,
                                   at::kMeta,
                                   /*decay_all=*/false,
                                   train::row_multiple(compute.device));
  const Sharding sharding{plan, &mesh.tp()};
  const auto model = model::family(options.family)
                         .make(options.model,
                               registry,
                               sharding,
                               train::batch_group(mesh, sharding));
  const auto layout = dist::lay_out(
      registry.parameters(),
      compute.dtype,
      mesh.shape(),
      train::bucket_options(options.parallel, sharding, compute.device));
  return model::cost_of(*model,
                        layout,
                        batch.micro_batch,
                        compute.device,
                        options.trainer.wire);
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

ChosenPlan fastest(const run::Options& options,
                   const dist::ProcessMesh& mesh,
                   const Compute& compute,
                   const train::BatchPlan& batch,
                   const std::vector<Plan>& plans) {
  // The same on all ranks.
  if (plans.size() == 1) return {plans[0], "the only one that can cut this"};
  const Machine machine{options.trainer.peak_flops / mesh.control().size(),
                        tp_link(options, mesh, compute)};
  ChosenPlan chosen;
  double least = std::numeric_limits<double>::infinity();  // of the chosen one
  std::string times;
  for (const Plan plan : plans) {
    const double time =
        step_seconds(cost_of_plan(options, mesh, compute, batch, plan),
                     mesh.shape(),
                     batch.micro_steps,
                     machine);
    times += fmt::format("{}{} {:.4g}",
                         times.empty() ? "" : ", ",
                         to_string(plan),
                         1e3 * time);
    if (kClearPlan * time >= least) continue;
    least = time;
    chosen.plan = plan;
  }
  chosen.reason = fmt::format(
      "estimated ms a step: {}, the first unless another is {} times as fast; "
      "measured {:.2f} GB/s, {:.0f} us and {:.0f} GFLOP/s a rank",
      times,
      kClearPlan,
      machine.link.bytes_per_s / 1e9,
      1e6 * machine.link.latency_s,
      machine.flops / 1e9);
  return chosen;
}

/// What speaks against the plan that is asked for, of several tp ranks.
void require_plan(const run::Options& options,
                  const dist::ProcessMesh& mesh,
                  std::int64_t micro_batch,
                  const std::string& unequal_cpus) {
  const auto& plan = options.parallel.plan;
  require(plan || options.parallel.backend != run::BackendChoice::null,
          "parallel.plan = auto: parallel.backend = null has no link to "
          "measure; expected sequence, bottleneck or rank");
  require(plan != Plan::rank ||
              model::has_mixtures(model::family(options.family), options.model),
          "parallel.plan = rank: a dense MLP has no rank; expected sequence or "
          "bottleneck");
  const auto possible =
      possible_plans(options, mesh, micro_batch, unequal_cpus);
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
  run::name_keys({"parallel", "model", "trainer"}, [&] {
    for (const auto samples : {batch.micro_batch, batch.least_micro_batch()}) {
      model::family(options.family)
          .validate_sharding(
              options.model,
              {options.parallel.plan.value_or(Plan::bottleneck), &mesh.tp()},
              samples);
    }
  });
  if (mesh.tp().size() > 1) {
    require_plan(options,
                 mesh,
                 std::gcd(batch.micro_batch, batch.least_micro_batch()),
                 unequal_cpus);
  }
  return batch;
}

double step_seconds(const model::Cost& cost,
                    const dist::MeshShape& mesh,
                    std::int64_t micro_steps,
                    const Machine& machine) {
  const auto moved = [&](double bytes, int ranks) {
    return bytes * dist::bus_factor(dist::Op::all_reduce, ranks) /
           machine.link.bytes_per_s;
  };
  const double pass =
      cost.pass.rank_flops / machine.flops +
      moved(cost.pass.tp_bytes, mesh.tp) +
      static_cast<double>(cost.pass.tp_operations) * machine.link.latency_s;
  return static_cast<double>(micro_steps) * pass +
         moved(static_cast<double>(cost.step.dp), mesh.dp) +
         moved(static_cast<double>(cost.step.all), mesh.ranks());
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
  ChosenPlan chosen = fastest(
      options,
      mesh,
      compute,
      batch,
      possible_plans(options,
                     mesh,
                     std::gcd(batch.micro_batch, batch.least_micro_batch()),
                     unequal_cpus));
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

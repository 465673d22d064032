#include "study/predict/model_work.h"

#include <algorithm>
#include <cmath>

#include "study/predict/axis_group.h"
#include "study/predict/cpu_passes.h"

namespace mumoe::study {
namespace {

// Of a micro-batch of 16 windows of 1024 tokens of GPT-2 124M with CP: the
// operations' kernels, 716 in 12 blocks and a head, and 62.9 GB that they pass
// over (mumoe/kernels/README.md), less the 43.2 GB of the products' operands,
// for 5.41 GB that are kept.
constexpr double kBlockKernels = 58, kHeadKernels = 20, kUpdateKernels = 60;
constexpr double kKeptPasses = 3.64;

double repeats_of(const RunCost& run) {
  const double flops = run.cost.pass.rank_flops;
  return flops > 0 ? run.cost.pass.repeated_flops / flops : 0;
}

/// Whether collectives go on beside products: of CPUs both take the cores.
bool hides(const Machine& machine) {
  return machine.multiprocessors > 0;
}

/// `times` exchanges of a micro-step, of `bytes` together.
Collective over_tp(const RunLayout& layout,
                   const Machine& machine,
                   double bytes,
                   double times) {
  Collective sum = over_group(Group::tp, layout.mesh(), machine.gpus_per_node);
  sum.bytes = times > 0 ? bytes / times : 0;
  sum.times = times;
  return sum;
}

/// A step's sum of gradients.
Collective sum_over(Group group,
                    const RunLayout& layout,
                    const Machine& machine,
                    std::int64_t bytes) {
  Collective sum = over_group(group, layout.mesh(), machine.gpus_per_node);
  sum.bytes = static_cast<double>(bytes);
  sum.overlapped = hides(machine);
  return sum;
}

/// Forward once, or twice where it is repeated, and both gradients of it.
void add_product(Part& part,
                 const mumoe::Product& product,
                 double share,
                 double repeats) {
  const auto m = static_cast<double>(product.m);
  const auto k = static_cast<double>(product.k);
  const double n = static_cast<double>(product.n) * share;
  part.products.push_back({m, n, k, 1, product.times * (1 + 3 * repeats)});
  part.products.push_back({m, k, n, 1, product.times});
  part.products.push_back({k, n, m, 1, product.times});
}

/// Attention's products with its scores, which the list has not.
void add_rest(Part& part,
              const run::Options& options,
              double flops,
              double repeats,
              bool fused) {
  if (flops <= 0) return;
  const auto length = static_cast<double>(options.model.context);
  const double head =
      static_cast<double>(options.model.width) /
      static_cast<double>(std::max<std::int64_t>(options.model.heads, 1));
  // Where blocks of scores stay in caches, heads are as fast as lengths.
  study::Product one{length, fused ? head : length, fused ? length : head, 1};
  one.batch = flops * (1 + repeats) / one.flops();
  part.products.push_back(one);
}

Part micro_step(const run::Options& options,
                const RunCost& run,
                const RunLayout& layout,
                const Machine& machine) {
  Part part;
  part.name = "micro-step";
  const model::PassCost& pass = run.cost.pass;
  const double repeats = repeats_of(run);
  // What of a product each rank of the tp group computes.
  const double share = pass.flops > 0 ? pass.rank_flops / pass.flops : 1;
  double listed = 0;
  for (const mumoe::Product& product : run.products) {
    add_product(part, product, share, repeats);
    listed += product.flops() * product.times * share;
  }
  add_rest(part, options, pass.rank_flops - listed, repeats, !hides(machine));
  if (hides(machine)) {
    part.passes = {{PassKind::whole,
                    kKeptPasses * (1 + repeats) *
                        (pass.kept_bytes + pass.repeated_bytes)}};
  } else {
    part.passes = cpu_passes(options, run, layout);
  }
  part.collectives = {over_tp(layout,
                              machine,
                              pass.tp_bytes,
                              static_cast<double>(pass.tp_operations))};
  part.kernels =
      kBlockKernels * static_cast<double>(options.model.depth) * (1 + repeats) +
      kHeadKernels;
  return part;
}

}  // namespace

StepWork model_work(const run::Options& options,
                    const RunCost& run,
                    const RunLayout& layout,
                    const Machine& machine) {
  StepWork work;
  work.micro_steps = static_cast<double>(run.batch.micro_steps);
  Part middle = micro_step(options, run, layout, machine);
  Part last = middle;
  last.name = "last micro-step";
  last.collectives.push_back(
      sum_over(Group::dp, layout, machine, run.cost.step.dp));
  last.collectives.push_back(
      sum_over(Group::all, layout, machine, run.cost.step.all));
  middle.repeats = work.micro_steps - 1;
  Part update;
  update.name = "update";
  const dist::ParameterBytes& bytes = run.cost.bytes;
  // Gradients are squared, then read once more; the rest is read and written.
  update.passes = {{PassKind::state,
                    2 * static_cast<double>(bytes.gradients) +
                        2 * static_cast<double>(bytes.optimizer) +
                        static_cast<double>(bytes.weights)}};
  update.kernels = kUpdateKernels;
  if (middle.repeats > 0) work.parts.push_back(std::move(middle));
  work.parts.push_back(std::move(last));
  work.parts.push_back(std::move(update));
  return work;
}

}  // namespace mumoe::study

#include "study/predict/run_cost.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "dist/null_communicator.h"
#include "dist/process_mesh.h"
#include "model/families.h"
#include "train/parameter_layout.h"

namespace mumoe::study {

RunLayout layout_of(const run::Options& options,
                    dist::MeshShape shape,
                    std::int64_t micro_batch) {
  return {.dp = shape.dp,
          .tp = shape.tp,
          .plan = options.parallel.plan.value_or(Plan::sequence),
          .zero = options.parallel.zero,
          .micro_batch = micro_batch,
          .recompute = options.model.recompute};
}

run::Options laid_out(run::Options options, const RunLayout& layout) {
  options.parallel.dp = layout.dp;
  options.parallel.tp = layout.tp;
  options.parallel.plan = layout.plan;
  options.parallel.zero = layout.zero;
  options.trainer.micro_batch = layout.micro_batch;
  options.model.recompute = layout.recompute;
  return options;
}

namespace {

/// Of each gate Σ ℓ, their number and Σ (ℓ − mean)² forward, and two sums
/// backward, in fp64 (mumoe/gate_batch); nothing is summed again where a part
/// is formed again.
double norm_bytes(const model::Family& family,
                  const model::ModelConfig& config) {
  double numbers = 0;
  for (const model::MlpKind& kind : family.mlps(config)) {
    if (kind.dense || kind.block.gate.norm != GateNorm::batch) continue;
    for (const std::int64_t experts : kind.block.experts) {
      numbers += static_cast<double>(kind.blocks * (4 * experts + 1));
    }
  }
  return numbers * sizeof(double);
}

}  // namespace

StepMoved RunCost::moved() const {
  const auto steps = static_cast<double>(batch.micro_steps);
  return {.dp = static_cast<double>(cost.step.dp) + steps * norms.dp,
          .tp = steps * cost.pass.tp_bytes,
          .all = static_cast<double>(cost.step.all) + steps * norms.all};
}

const char* word_of(model::Recompute recompute) {
  switch (recompute) {
    case model::Recompute::none:
      break;
    case model::Recompute::mixture:
      return "mixture";
    case model::Recompute::everything:
      return "everything";
  }
  return "none";
}

std::string arguments_of(const RunLayout& layout) {
  std::string text =
      fmt::format("--parallel.dp {} --parallel.tp {}", layout.dp, layout.tp);
  if (layout.tp > 1) {
    text += fmt::format(" --parallel.plan {}", to_string(layout.plan));
  }
  return text + fmt::format(
                    " --parallel.zero {} --train.micro_batch {} "
                    "--train.recompute {}",
                    layout.zero,
                    layout.micro_batch,
                    word_of(layout.recompute));
}

RunCost cost_of_run(const run::Options& asked,
                    const RunLayout& layout,
                    at::ScalarType dtype,
                    at::Device device) {
  const run::Options options = laid_out(asked, layout);
  const model::Family& family = model::family(options.family);
  const auto batch = train::BatchPlan::make(options.trainer.batch,
                                            layout.micro_batch,
                                            layout.dp);
  const auto world =
      dist::make_null_communicator({.dp = layout.dp, .tp = layout.tp});
  const dist::ProcessMesh mesh(*world, layout.dp, layout.tp);
  const Sharding sharding{layout.plan, &mesh.tp()};
  require(layout.tp == 1 || layout.plan != Plan::rank ||
              model::has_mixtures(family, options.model),
          "a dense MLP has no rank to cut");
  for (const auto samples : {batch.micro_batch, batch.least_micro_batch()}) {
    family.validate_sharding(options.model, sharding, samples);
  }
  dist::ParameterRegistry registry(mesh.tp(),
                                   dtype,
                                   at::kMeta,
                                   /*decay_all=*/false,
                                   train::row_multiple(device));
  const auto model = family.make(options.model,
                                 registry,
                                 sharding,
                                 train::batch_group(mesh, sharding));
  const auto buckets =
      dist::lay_out(registry.parameters(),
                    dtype,
                    mesh.shape(),
                    train::bucket_options(options.parallel, sharding, device));
  RunCost run{.batch = batch,
              .cost = model::cost_of(*model,
                                     buckets,
                                     batch.micro_batch,
                                     device,
                                     options.trainer.wire),
              .memory = {},
              .products = model->products(batch.micro_batch),
              .element = static_cast<double>(c10::elementSize(dtype))};
  if (sharding.region().tokens_cut()) {
    run.norms.all = norm_bytes(family, options.model);
  } else if (layout.dp > 1) {
    run.norms.dp = norm_bytes(family, options.model);
  }
  run.memory = estimate_memory(run.cost,
                               family.workspace(options.model),
                               batch.micro_batch,
                               layout.tp,
                               dtype,
                               device.is_cpu(),
                               /*program=*/0);
  return run;
}

}  // namespace mumoe::study

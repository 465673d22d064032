#include "study/predict/cpu_passes.h"

#include <algorithm>

#include "model/families.h"

namespace mumoe::study {
namespace {

// Statistics, entmax and scores are formed in fp32.
constexpr double kWide = 4;

/// Elements of a token.
struct Lengths {
  double experts = 0;
  double mixed = 0;   ///< z U_I, what experts mix, and c
  double hidden = 0;  ///< of all ranks
};

Lengths lengths_of(const BlockConfig& block, bool dense) {
  Lengths lengths{.hidden = static_cast<double>(block.hidden_dim)};
  if (dense) return lengths;
  for (const std::int64_t experts : block.experts) {
    lengths.experts += static_cast<double>(experts);
  }
  for (const LayerShape& layer : block.shape().layers(block.ranks)) {
    lengths.mixed += static_cast<double>(combination_of(layer).result());
    for (const FactorSpec& f : factor_specs(layer)) {
      if (f.role != Role::expert && f.role != Role::input) continue;
      lengths.mixed += static_cast<double>(f.columns(layer));
    }
  }
  return lengths;
}

/// How often what a layer passes over is passed over again in backward.
double again(const model::ModelConfig& config) {
  return config.recompute == model::Recompute::everything ? 1.0 / 3 : 0;
}

}  // namespace

std::vector<Pass> cpu_passes(const run::Options& options,
                             const RunCost& run,
                             const RunLayout& layout) {
  const model::ModelConfig& config = options.model;
  const model::Family& family = model::family(options.family);
  const auto samples = static_cast<double>(run.batch.micro_batch);
  const double part = 1.0 / layout.tp;
  const bool tokens_cut = layout.tp > 1 && layout.plan == Plan::sequence;
  const double rows = tokens_cut ? part : 1;
  const double element = run.element;
  const double times = 1 + again(config);
  Pass norm{PassKind::norm, 0}, gate{PassKind::gate, 0},
      mixing{PassKind::mixing, 0}, gelu{PassKind::gelu, 0};
  for (const model::MlpKind& kind : family.mlps(config)) {
    const Lengths a_token = lengths_of(kind.block, kind.dense);
    const double tokens =
        samples * static_cast<double>(kind.tokens * kind.blocks) * times;
    norm.bytes +=
        2 * tokens * rows * static_cast<double>(kind.block.input_dim) * kWide;
    gate.bytes += tokens * rows * a_token.experts * kWide;
    mixing.bytes += tokens * rows * a_token.mixed * element;
    gelu.bytes += tokens * a_token.hidden * element *
                  (layout.plan == Plan::rank ? 1 : part);
  }
  std::vector<Pass> passes = {norm, gate, mixing, gelu};
  if (family.learns_from == model::LearnsFrom::tokens) {
    const auto length = static_cast<double>(config.context);
    passes.push_back(
        {PassKind::scores,
         samples * times * static_cast<double>(config.depth * config.heads) *
             part * length * length * kWide});
  }
  passes.push_back({PassKind::logits,
                    samples * part * family.workspace(config).logits * kWide});
  return passes;
}

}  // namespace mumoe::study

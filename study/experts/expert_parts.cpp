#include "study/experts/expert_parts.h"

#include <ATen/ATen.h>

#include <utility>

#include "base/error.h"
#include "model/head_model.h"
#include "model/vit.h"
#include "mumoe/combine.h"
#include "mumoe/gemm.h"
#include "mumoe/layer.h"

namespace mumoe::study {

std::optional<LogitMixture> logit_mixture(const model::Model& model) {
  if (const auto* head = dynamic_cast<const model::HeadModel*>(&model)) {
    if (head->config().head != model::HeadKind::mixture) return {};
    return LogitMixture{head->mixtures().back(),
                        [](const at::Tensor& features) { return features; }};
  }
  if (const auto* vit = dynamic_cast<const model::Vit*>(&model)) {
    if (vit->config().head != model::HeadKind::mixture) return {};
    return LogitMixture{
        vit->mixtures().back(),
        [vit](const at::Tensor& images) { return vit->features(images); }};
  }
  return {};
}

ExpertParts::ExpertParts(const MuMoEBlock& block,
                         std::vector<at::Tensor> coefficients,
                         const at::Tensor& x)
    : block_(block), coefficients_(std::move(coefficients)) {
  const BlockConfig& config = block.config();
  MUMOE_CHECK(block.layers().size() == 1 && !config.input_layer_norm,
              "{}: not a layer that sees its input as it is",
              block.prefix());
  require(config.sharding.region().size() == 1 ||
              config.sharding.plan != Plan::rank,
          "{}: under parallel.plan = rank, ranks hold slices of it; expected "
          "bottleneck",
          block.prefix());
  const SparseLevels dense(coefficients_.size(), false);
  const LayerOperands operands{coefficients_,
                               dense,
                               block.layers()[0],
                               {},
                               config.gemm};
  projection_ = layer_project(operands, x).projection;
}

at::Tensor ExpertParts::part(std::size_t level,
                             std::int64_t expert,
                             const at::Tensor& rows) const {
  Factors factors = block_.layers()[0];
  factors.expert[level] = factors.expert[level].narrow(0, expert, 1);
  std::vector<at::Tensor> coefficients;
  for (std::size_t e = 0; e < coefficients_.size(); ++e) {
    const at::Tensor of_level =
        e == level ? coefficients_[e].narrow(1, expert, 1) : coefficients_[e];
    coefficients.push_back(of_level.index_select(0, rows));
  }
  const GemmLibrary gemm = block_.config().gemm;
  const at::Tensor c = combine(coefficients,
                               SparseLevels(coefficients.size(), false),
                               factors,
                               projection_.index_select(0, rows),
                               gemm);
  return mm(c, factor_matrix(factors.output).t(), gemm);
}

}  // namespace mumoe::study

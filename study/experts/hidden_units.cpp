#include "study/experts/hidden_units.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "model/dense_mlp.h"

namespace mumoe::study {
namespace {

/// Looks at all MLPs for as long as it lives.
class Watch {
 public:
  explicit Watch(std::vector<const model::DenseMlp*> mlps)
      : mlps_(std::move(mlps)), seen_(mlps_.size()) {
    for (std::size_t i = 0; i < mlps_.size(); ++i) {
      mlps_[i]->watch([this, i](const at::Tensor& hidden) {
        seen_[i] = hidden.to(at::kCPU);
      });
    }
  }
  ~Watch() {
    for (const model::DenseMlp* mlp : mlps_) mlp->watch({});
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// Of the last pass, side by side: the means of its samples.
  at::Tensor means(std::int64_t samples) const {
    std::vector<at::Tensor> means;
    for (const at::Tensor& hidden : seen_) {
      means.push_back(means_of_samples(hidden.flatten(0, -2), samples));
    }
    return at::cat(means, 1).contiguous();
  }
  std::int64_t units(std::size_t mlp) const { return seen_[mlp].size(-1); }

 private:
  std::vector<const model::DenseMlp*> mlps_;
  std::vector<at::Tensor> seen_;
};

}  // namespace

MeanRouting mean_hidden_units(const model::Model& model,
                              const train::Scorer& scorer,
                              const data::Samples& samples,
                              const train::BatchList& batches,
                              const std::string& what) {
  const auto* text = dynamic_cast<const model::LanguageModel*>(&model);
  const auto mlps = text == nullptr ? std::vector<const model::DenseMlp*>{}
                                    : text->dense_mlps();
  require(!mlps.empty(),
          "{}: its model has no dense MLPs; expected a text model with "
          "model.mlp = dense",
          what);
  require(scorer.mesh.tp().size() == 1,
          "{}: parallel.tp = {} cuts its hidden units; expected 1",
          what,
          scorer.mesh.tp().size());
  const Watch watch(mlps);
  MeanRouting found;
  const at::Tensor ids = at::zeros({1, 1}, at::kLong).to(scorer.device);
  text->token_losses({ids, ids});  // how many units there are
  for (std::size_t i = 0; i < mlps.size(); ++i) {
    found.gates.push_back({i, 0, fmt::format("h.{}.mlp", i), watch.units(i)});
  }
  found.width = found.begin(found.gates.size());
  for (const auto& batch : batches) found.samples += batch.size();
  GatheredRows rows(batches, found.width);
  scorer.score(
      samples,
      batches,
      /*numbers=*/1,
      [&](const model::Batch& batch, std::span<const std::uint64_t> indices) {
        text->token_losses(batch);
        rows.set(indices,
                 watch.means(static_cast<std::int64_t>(indices.size())));
        return std::vector<double>(indices.size());
      });
  found.means = rows.finish(scorer.mesh.control(), true);
  return found;
}

}  // namespace mumoe::study

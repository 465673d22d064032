#include "study/experts/routing.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "model/classifier.h"
#include "model/head_model.h"
#include "model/language_model.h"

namespace mumoe::study {
namespace {

/// Looks at all mixtures of a model for as long as it lives.
class Watch {
 public:
  explicit Watch(std::span<const MuMoEBlock* const> mixtures)
      : mixtures_(mixtures), seen_(mixtures.size()) {
    for (std::size_t i = 0; i < mixtures.size(); ++i) {
      mixtures[i]->watch([this, i](const std::vector<at::Tensor>& levels) {
        seen_[i] = levels;
      });
    }
  }
  ~Watch() {
    for (const MuMoEBlock* block : mixtures_) block->watch({});
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// The coefficients of the last pass, as `RoutedBatch` has them.
  std::vector<at::Tensor> take() {
    std::vector<at::Tensor> all;
    for (std::vector<at::Tensor>& levels : seen_) {
      MUMOE_CHECK(!levels.empty(), "a mixture took no part in a pass");
      for (const at::Tensor& a_TN : levels) {
        const bool wide = a_TN.scalar_type() == at::kDouble;
        all.push_back(a_TN.detach()
                          .to(at::kCPU, wide ? at::kDouble : at::kFloat)
                          .contiguous());
      }
      levels.clear();
    }
    return all;
  }

 private:
  std::span<const MuMoEBlock* const> mixtures_;
  std::vector<std::vector<at::Tensor>> seen_;
};

}  // namespace

std::vector<Gate> gates_of(const model::Model& model, const std::string& what) {
  std::vector<Gate> gates;
  const auto mixtures = model.mixtures();
  for (std::size_t i = 0; i < mixtures.size(); ++i) {
    const auto& experts = mixtures[i]->config().experts;
    std::string name = mixtures[i]->prefix();
    if (name.ends_with('.')) name.pop_back();
    for (std::size_t level = 0; level < experts.size(); ++level) {
      gates.push_back(
          {i,
           level,
           experts.size() == 1 ? name : fmt::format("{} level {}", name, level),
           experts[level]});
    }
  }
  const bool head = dynamic_cast<const model::HeadModel*>(&model) != nullptr;
  require(!gates.empty(),
          "{}: its model has no experts ({}); expected cp, tr, tt or tucker",
          what,
          head ? "model.head = linear or high_rank" : "model.mlp = dense");
  return gates;
}

RoutingPass::RoutingPass(const model::Model& model,
                         train::Scorer scorer,
                         const std::string& what)
    : model_(model), scorer_(std::move(scorer)), gates_(gates_of(model, what)) {
  for (const MuMoEBlock* block : model.mixtures()) {
    require(scorer_.mesh.tp().size() == 1 ||
                block->config().sharding.plan != Plan::sequence,
            "{}: under parallel.plan = sequence a rank sees some tokens only; "
            "expected bottleneck or rank",
            what);
  }
}

at::Tensor RoutingPass::output_of(const model::Batch& batch) const {
  if (const auto* text = dynamic_cast<const model::LanguageModel*>(&model_)) {
    return text->token_losses(batch);
  }
  const auto* images = dynamic_cast<const model::Classifier*>(&model_);
  MUMOE_CHECK(images != nullptr, "a model of neither text nor classes");
  return images->logits(batch.input);
}

void RoutingPass::run(const data::Samples& samples,
                      const train::BatchList& batches,
                      const Visit& visit) const {
  // Nothing is scored: each sample's number is there because batches are dealt
  // by whoever scores them.
  numbers(samples, batches, /*numbers=*/1, [&](const RoutedBatch& batch) {
    visit(batch);
    return std::vector<double>(batch.samples.size());
  });
}

std::vector<double> RoutingPass::numbers(const data::Samples& samples,
                                         const train::BatchList& batches,
                                         std::int64_t numbers,
                                         const NumbersOf& of) const {
  const at::NoGradGuard no_grad;
  Watch watch(model_.mixtures());
  return scorer_.score(
      samples,
      batches,
      numbers,
      [&](const model::Batch& batch, std::span<const std::uint64_t> indices) {
        const at::Tensor output = output_of(batch);
        const auto coefficients = watch.take();
        return of({indices, batch, coefficients, output});
      });
}

}  // namespace mumoe::study

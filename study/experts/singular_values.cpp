#include "study/experts/singular_values.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "model/classifier.h"
#include "model/language_model.h"

namespace mumoe::study {
namespace {

/// Tables that are looked up, no matrices of products.
constexpr const char* kTables[] = {"wte", "wpe", "positions", "class_token"};

/// LibTorch on one thread for as long as it lives.
class OneThread {
 public:
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(threads_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int threads_ = at::get_num_threads();
};

bool of_mixture(const model::Model& model, const std::string& name) {
  return std::ranges::any_of(model.mixtures(), [&](const MuMoEBlock* block) {
    return name.starts_with(block->prefix());
  });
}

/// `whole`, a parameter of [3, heads, D, C] (queries, keys, values) or [rows,
/// ...], as a matrix.
at::Tensor as_matrix(const at::Tensor& whole) {
  return whole.dim() == 4 ? whole.flatten(0, 2) : whole.flatten(1);
}

bool is_matrix(const dist::Parameter& p, bool mixture) {
  const auto dims = p.global_shape.size();
  if (!p.trained && !p.frozen) return false;
  if (dims < 2 || p.name.ends_with("bias")) return false;
  if (mixture) return !p.name.ends_with("core");
  return std::ranges::find(kTables, p.name) == std::end(kTables);
}

}  // namespace

std::int64_t WeightMatrix::kept(double percent) const {
  const double exact = percent / 100 * static_cast<double>(values());
  return std::clamp<std::int64_t>(
      static_cast<std::int64_t>(std::ceil(exact - 1e-9)),
      1,
      values());
}

std::vector<WeightMatrix> weight_matrices(
    const model::Model& model,
    const dist::ParameterRegistry& registry,
    Matrices which) {
  std::vector<WeightMatrix> matrices;
  for (std::size_t i = 0; i < registry.parameters().size(); ++i) {
    const dist::Parameter& p = registry.parameters()[i];
    const bool mixture = of_mixture(model, p.name);
    if (!is_matrix(p, mixture)) continue;
    if (which == Matrices::linear && mixture) continue;
    if (which == Matrices::factors && !mixture) continue;
    const auto& shape = p.global_shape;
    const std::int64_t rows =
        shape.size() == 4 ? shape[0] * shape[1] * shape[2] : shape[0];
    matrices.push_back({i, p.name, rows, p.global_numel() / rows});
  }
  return matrices;
}

SingularValues::SingularValues(const dist::ParameterRegistry& registry,
                               std::vector<WeightMatrix> matrices)
    : registry_(registry), matrices_(std::move(matrices)) {
  const at::NoGradGuard no_grad;
  const OneThread one;
  for (const WeightMatrix& matrix : matrices_) {
    const dist::Parameter& p = registry_.parameters()[matrix.parameter];
    Decomposed d{.own = p.value.detach().clone(), .us = {}, .v = {}, .s = {}};
    const at::Tensor whole =
        as_matrix(registry_.gather(p, p.value.detach()).to(at::kCPU))
            .to(at::kDouble);
    auto [u, s, v] = at::linalg_svd(whole, /*full_matrices=*/false);
    d.us = u * s;
    d.v = v;
    d.s = s;
    decomposed_.push_back(std::move(d));
  }
}

void SingularValues::keep(std::size_t index, double percent) const {
  const at::NoGradGuard no_grad;
  const OneThread one;
  const WeightMatrix& matrix = matrices_[index];
  const dist::Parameter& p = registry_.parameters()[matrix.parameter];
  const Decomposed& d = decomposed_[index];
  at::Tensor value = p.value.detach();
  if (percent >= 100) {
    value.copy_(d.own);
    return;
  }
  const std::int64_t kept = matrix.kept(percent);
  const at::Tensor lower =
      d.us.narrow(1, 0, kept).matmul(d.v.narrow(0, 0, kept));
  value.copy_(registry_.cut(p, lower.view(p.global_shape)));
}

double SingularValues::energy(std::size_t index, double percent) const {
  const at::Tensor squares = decomposed_[index].s.square();
  const std::int64_t kept = matrices_[index].kept(percent);
  const double all = squares.sum().item<double>();
  return all > 0 ? squares.narrow(0, 0, kept).sum().item<double>() / all : 1;
}

Quality quality_of(const model::Model& model,
                   const train::Scorer& scorer,
                   const data::Samples& samples,
                   const train::BatchList& batches) {
  const auto* text = dynamic_cast<const model::LanguageModel*>(&model);
  const auto* images = dynamic_cast<const model::Classifier*>(&model);
  MUMOE_CHECK(text != nullptr || images != nullptr);
  const auto scores = scorer.score(
      samples,
      batches,
      /*numbers=*/2,
      [&](const model::Batch& batch, std::span<const std::uint64_t>) {
        std::vector<double> numbers;
        at::Tensor losses, right;
        if (text != nullptr) {
          losses = text->token_losses(batch).to(at::kCPU, at::kDouble).mean(1);
          right = at::full_like(losses, -1);
        } else {
          const at::Tensor logits =
              images->logits(batch.input).to(at::kCPU, at::kDouble);
          const at::Tensor target = batch.target.to(at::kCPU);
          losses = -at::log_softmax(logits, 1).gather(1, target).squeeze(1);
          right = (logits.argmax(1) == target.squeeze(1)).to(at::kDouble);
        }
        for (std::int64_t i = 0; i < losses.size(0); ++i) {
          numbers.push_back(losses[i].item<double>());
          numbers.push_back(right[i].item<double>());
        }
        return numbers;
      });
  Quality quality{0, 0};
  for (std::size_t i = 0; i < scores.size(); i += 2) {
    quality.loss += scores[i];
    quality.accuracy += scores[i + 1];
  }
  quality.loss /= static_cast<double>(scores.size() / 2);
  quality.accuracy /= static_cast<double>(scores.size() / 2);
  return quality;
}

}  // namespace mumoe::study

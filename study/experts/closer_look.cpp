#include "study/experts/closer_look.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "study/experts/exact_sums.h"

namespace mumoe::study {
namespace {

at::ScalarType wide_type(const MuMoEBlock& block) {
  const auto type = block.layers().front().output.scalar_type();
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace

CloserLook::CloserLook(const model::Model& model,
                       std::span<const Gate> gates,
                       const std::vector<std::vector<ExpertExamples>>& examples,
                       const Options& options)
    : model_(model),
      gates_(gates.begin(), gates.end()),
      options_(options),
      inputs_(model.mixtures().size()) {
  for (std::size_t g = 0; g < gates_.size(); ++g) {
    const MuMoEBlock& block = *model.mixtures()[gates_[g].mixture];
    const std::int64_t tops = gates_[g].experts * options_.per_expert;
    GateSurroundings seen;
    seen.around =
        at::zeros({2 * tops, options_.before + 1 + options_.after}, at::kFloat);
    if (options_.inputs) {
      const auto type = wide_type(block);
      seen.input = at::zeros({tops, block.config().input_dim}, type);
      for (const std::int64_t experts : block.config().experts) {
        seen.coefficients.push_back(at::zeros({tops, experts}, type));
      }
    }
    seen_.push_back(std::move(seen));
    for (std::int64_t n = 0; n < gates_[g].experts; ++n) {
      const ExpertExamples& of = examples[g][static_cast<std::size_t>(n)];
      for (const std::int64_t kind : {0, 1}) {
        const auto& list = kind == 0 ? of.top : of.drawn;
        for (std::size_t i = 0; i < list.size(); ++i) {
          places_[list[i].sample].push_back(
              {g, n, kind, static_cast<std::int64_t>(i), list[i].token});
        }
      }
    }
  }
  if (!options_.inputs) return;
  for (std::size_t m = 0; m < inputs_.size(); ++m) {
    model.mixtures()[m]->watch_inputs(
        [this, m](const at::Tensor& input, const InputNorm& norm) {
          inputs_[m] = input;
          for (std::size_t g = 0; g < gates_.size(); ++g) {
            if (gates_[g].mixture == m) seen_[g].norm = norm;
          }
        });
  }
}

CloserLook::~CloserLook() {
  for (const MuMoEBlock* block : model_.mixtures()) block->watch_inputs({});
}

std::vector<std::uint64_t> CloserLook::samples() const {
  std::vector<std::uint64_t> all;
  for (const auto& [sample, places] : places_) all.push_back(sample);
  return all;
}

std::size_t CloserLook::first_level(std::size_t gate) const {
  return gate - gates_[gate].level;
}

void CloserLook::take(const RoutedBatch& batch,
                      std::int64_t row,
                      const Place& place) {
  GateSurroundings& seen = seen_[place.gate];
  const at::Tensor& a_TN = batch.coefficients[place.gate];
  const std::int64_t tokens =
      a_TN.size(0) / static_cast<std::int64_t>(batch.samples.size());
  const std::int64_t at = row * tokens + place.token;
  const std::int64_t slot =
      (place.expert * 2 + place.kind) * options_.per_expert + place.number;
  const std::int64_t before = std::min(options_.before, place.token);
  const std::int64_t count =
      before + 1 + std::min(options_.after, tokens - 1 - place.token);
  seen.around[slot]
      .narrow(0, options_.before - before, count)
      .copy_(a_TN.select(1, place.expert).narrow(0, at - before, count));
  if (!options_.inputs || place.kind != 0) return;
  const std::int64_t top = place.expert * options_.per_expert + place.number;
  seen.input[top].copy_(inputs_[gates_[place.gate].mixture][at]);
  for (std::size_t e = 0; e < seen.coefficients.size(); ++e) {
    seen.coefficients[e][top].copy_(
        batch.coefficients[first_level(place.gate) + e][at]);
  }
}

void CloserLook::add(const RoutedBatch& batch) {
  for (std::size_t row = 0; row < batch.samples.size(); ++row) {
    const auto found = places_.find(batch.samples[row]);
    if (found == places_.end()) continue;
    for (const Place& place : found->second) {
      take(batch, static_cast<std::int64_t>(row), place);
    }
  }
  for (at::Tensor& input : inputs_) input.reset();
}

std::vector<GateSurroundings> CloserLook::finish(dist::Communicator& world,
                                                 bool tells) {
  // Each row is of one rank; zeros of the others leave its bits as they are.
  const auto merge = [&](const at::Tensor& all) {
    if (!all.defined()) return;
    if (!tells) all.zero_();
    world.all_reduce(all);
  };
  for (std::size_t g = 0; g < gates_.size(); ++g) {
    GateSurroundings& seen = seen_[g];
    merge(seen.around);
    merge(seen.input);
    for (const at::Tensor& level : seen.coefficients) merge(level);
    // A rank that saw no batch does not know it.
    const MuMoEBlock& block = *model_.mixtures()[gates_[g].mixture];
    std::vector<std::int64_t> normed{seen.norm.weight.defined()};
    merge_counts(world, normed);
    if (normed[0] > 0) seen.norm = block.norm();
  }
  return std::move(seen_);
}

}  // namespace mumoe::study

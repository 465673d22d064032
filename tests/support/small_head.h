#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/head_model.h"
#include "tests/support/classifier_on_mesh.h"

// Heads small enough to be run at every layout, on features made up here.

namespace mumoe::testing {

/// 7 classes on 10 features.
inline model::ModelConfig small_head(const std::string& head) {
  model::ModelConfig c;
  c.features = 10;
  c.classes = 7;
  c.seed = 11;
  c.set_head(head);
  c.mlp.experts = {6};
  c.mlp.gate.norm = GateNorm::batch;
  c.mlp.ranks = {5};
  return c;
}

struct HeadCase {
  std::string name;
  model::ModelConfig config;
};

/// Of every kind and form, gate and norm.
inline std::vector<HeadCase> head_cases() {
  const auto with = [](const std::string& head,
                       std::vector<std::int64_t> experts,
                       std::vector<std::int64_t> ranks) {
    auto c = small_head(head);
    c.mlp.experts = std::move(experts);
    c.mlp.ranks = std::move(ranks);
    c.mlp.level_noise = 0.5;
    return c;
  };
  std::vector<HeadCase> cases = {{"linear", small_head("linear")},
                                 {"high_rank", small_head("high_rank")},
                                 {"cp", small_head("cp")},
                                 {"cp of two levels", with("cp", {4, 3}, {5})},
                                 {"tr", with("tr", {6}, {2, 3, 4})},
                                 {"tt", with("tt", {6}, {1, 2, 3})},
                                 {"tucker", with("tucker", {6}, {3, 4, 3})}};
  cases.push_back({"cp by layer norms and softmax", small_head("cp")});
  cases.back().config.mlp.gate.norm = GateNorm::layer;
  cases.back().config.mlp.gate.activation = GateActivation::softmax;
  cases.push_back({"tr by no norm, two of the experts", cases[4].config});
  cases.back().config.mlp.gate.norm = GateNorm::none;
  cases.back().config.mlp.gate.activation = GateActivation::top_k;
  cases.back().config.mlp.gate.top_k = 2;
  cases.back().config.mlp.expert_bias = false;
  return cases;
}

/// Classes and features, with sample numbers that do not begin at 0.
inline model::Batch made_up_features(const model::ModelConfig& c,
                                     std::int64_t samples) {
  return {.input = made_up({samples, c.features}, 1),
          .target = (at::arange(samples, at::kLong) * 3 + 1)
                        .remainder(c.classes)
                        .unsqueeze(1),
          .ids = at::arange(samples, at::kLong) + 40};
}

using HeadOnMesh = ClassifierOnMesh<model::HeadModel>;

}  // namespace mumoe::testing

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/mixer.h"
#include "tests/support/classifier_on_mesh.h"

// MLP-Mixers small enough to be run at every layout, on images made up here.

namespace mumoe::testing {

/// 9 patches of 2 x 2, 2 channels, 7 classes.
inline model::ModelConfig small_mixer(const std::string& mlp) {
  model::ModelConfig c;
  c.depth = 2;
  c.width = 12;
  c.patch = 2;
  c.image_size = 6;
  c.channels = 2;
  c.classes = 7;
  c.token_hidden = 5;
  c.mlp.hidden_dim = 15;
  c.bias = true;
  c.seed = 11;
  c.set_mlp(mlp);
  c.mlp.experts = {6};
  c.mlp.gate.norm = GateNorm::batch;
  c.token_ranks = {4};
  c.mlp.ranks = {7};
  return c;
}

struct MixerCase {
  std::string name;
  model::ModelConfig config;
};

/// Of every form, and dense.
inline std::vector<MixerCase> mixer_cases() {
  const auto with = [](const std::string& mlp,
                       std::vector<std::int64_t> experts,
                       std::vector<std::int64_t> token,
                       std::vector<std::int64_t> channel) {
    auto c = small_mixer(mlp);
    c.mlp.experts = std::move(experts);
    c.token_ranks = std::move(token);
    c.mlp.ranks = std::move(channel);
    c.mlp.level_noise = 0.5;
    return c;
  };
  std::vector<MixerCase> cases = {
      {"dense", small_mixer("dense")},
      {"cp", small_mixer("cp")},
      {"cp of two levels", with("cp", {4, 3}, {4}, {7})},
      {"tr", with("tr", {6}, {2, 3, 4}, {2, 3, 5})},
      {"tt", with("tt", {6}, {1, 2, 3}, {1, 3, 5})},
      {"tucker", with("tucker", {6}, {3, 4, 3}, {3, 5, 4})}};
  cases.push_back({"cp by layer norms", small_mixer("cp")});
  cases.back().config.mlp.gate.norm = GateNorm::layer;
  cases.push_back({"tr without biases, recomputed", cases[3].config});
  cases.back().config.bias = cases.back().config.mlp.expert_bias = false;
  cases.back().config.mlp.recompute = true;
  return cases;
}

/// A Mixer on the ranks of a mesh.
struct MixerOnMesh : ClassifierOnMesh<model::Mixer> {
  using ClassifierOnMesh::ClassifierOnMesh;
  model::Mixer& mixer = model;
};

}  // namespace mumoe::testing

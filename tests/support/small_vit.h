#pragma once

#include <string>
#include <vector>

#include "model/vit.h"
#include "tests/support/classifier_on_mesh.h"

// ViTs small enough to be run at every layout, on images made up here.

namespace mumoe::testing {

/// DINO's form: 9 patches of 2 x 2, 2 channels, 7 classes.
inline model::ModelConfig small_vit(const std::string& mlp = "dense") {
  model::ModelConfig c;
  c.depth = 2;
  c.heads = 4;
  c.width = 12;
  c.patch = 2;
  c.image_size = 6;
  c.channels = 2;
  c.classes = 7;
  c.mlp.hidden_dim = 15;
  c.bias = true;
  c.norm_epsilon = 1e-6;
  c.seed = 11;
  c.set_mlp(mlp);
  c.mlp.experts = {6};
  c.mlp.gate.norm = GateNorm::batch;
  c.mlp.ranks = {7};
  return c;
}

/// CLIP's form.
inline model::ModelConfig small_clip() {
  model::ModelConfig c = small_vit();
  c.norm_pre = true;
  c.norm_epsilon = 1e-5;
  c.gelu = model::Gelu::quick;
  return c;
}

struct VitCase {
  std::string name;
  model::ModelConfig config;
};

/// Of both forms, with mixtures as MLPs and as heads, and frozen.
inline std::vector<VitCase> vit_cases() {
  const auto with_head = [](model::ModelConfig c,
                            const std::string& head,
                            std::vector<std::int64_t> ranks) {
    c.set_head(head);
    c.mlp.ranks = std::move(ranks);
    return c;
  };
  std::vector<VitCase> cases = {
      {"dino", small_vit()},
      {"clip", small_clip()},
      {"cp", small_vit("cp")},
      {"clip, cp head", with_head(small_clip(), "cp", {5})},
      {"dino, tr head", with_head(small_vit(), "tr", {2, 3, 4})}};
  auto ring = small_vit("tr");
  ring.mlp.ranks = {2, 3, 5};
  ring.bias = ring.mlp.expert_bias = false;
  ring.mlp.recompute = true;
  ring.set_head("high_rank");
  ring.head_parameters = 60;
  cases.push_back({"tr without biases, recomputed, high-rank head", ring});
  for (const std::size_t of : {2, 3}) {
    cases.push_back({"frozen " + cases[of].name, cases[of].config});
    cases.back().config.frozen = true;
  }
  return cases;
}

using VitOnMesh = ClassifierOnMesh<model::Vit>;

}  // namespace mumoe::testing

#pragma once

#include "run/options.h"

namespace mumoe::study {

/// GPT-2 124M with CP, as the recipe has it, 512 samples a step.
inline run::Options recipe_124m() {
  run::Options options;
  options.model.depth = 12;
  options.model.heads = 12;
  options.model.width = 768;
  options.model.context = 1024;
  options.model.vocab = 50304;
  options.model.bias = false;
  options.model.mlp.hidden_dim = 3072;
  options.model.mlp.experts = {256};
  options.model.mlp.ranks = {556};
  options.trainer.batch = 512;
  options.trainer.steps = 1000;
  return options;
}

}  // namespace mumoe::study

#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "mumoe/module.h"
#include "tests/mumoe/block_fixture.h"

// Modules with values, for the tests of `MuMoE`.

namespace mumoe::testing {

constexpr std::int64_t kTokens = 13;

/// Every kind of parameter and buffer: two levels, batch norm, input norm.
inline BlockConfig rich(Form form = Form::tensor_ring) {
  BlockConfig c = small_block(form, {5, 4});
  c.gate.norm = GateNorm::batch;
  c.level_noise = 0.3;
  return c;
}

/// Not at its symmetric start, with running statistics of its own.
inline MuMoE trained(const BlockConfig& config, std::uint64_t seed = 1) {
  MuMoE module(config, seed);
  {
    const at::NoGradGuard no_grad;
    for (auto& p : module->named_parameters()) {
      p.value().add_(0.2 *
                     numbers(p.value().sizes().vec(), hash_name(p.key())));
    }
  }
  module->forward(numbers({kTokens, config.input_dim}, 5).to(at::kFloat));
  return module;
}

inline at::Tensor input(const BlockConfig& c,
                        at::ScalarType type = at::kFloat) {
  return numbers({kTokens, c.input_dim}, 7).to(type);
}

}  // namespace mumoe::testing

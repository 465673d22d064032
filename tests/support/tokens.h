#pragma once

#include <ATen/ATen.h>

#include "model/model.h"

namespace mumoe::testing {

/// The batch of windows `tokens` [B, T + 1]: the last T are targets.
inline model::Batch next_token_batch(const at::Tensor& tokens) {
  const std::int64_t length = tokens.size(1) - 1;
  return {tokens.narrow(1, 0, length), tokens.narrow(1, 1, length)};
}

}  // namespace mumoe::testing

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "base/random.h"

namespace mumoe::model {

/// A random number in [0, 1) for each sample of a batch and each of several
/// streams: fp64 [streams, B], element (s, b) the `CounterRandom::uniform` of
/// index `ids`[b] in stream s. By LibTorch's operations where `ids` (int64 [B])
/// are: nobody waits for a GPU.
at::Tensor sample_uniforms(std::uint64_t seed,
                           Purpose purpose,
                           std::int64_t streams,
                           const at::Tensor& ids);

}  // namespace mumoe::model

#pragma once

#include "dist/params/parameter_registry.h"
#include "mumoe/safetensors.h"

namespace mumoe::run {

/// Weights of a GPT-2 under the names and in the shapes that nanoGPT-style
/// checkpoints use: `transformer.h.0.attn.c_attn.weight` [3C, C] …, a μMoE
/// block's under `mlp.MuMoE_layer`, the bias row as the last row of an input
/// factor. A ring's or train's factors are [r, N, r'], [r, I + 1, r'] and
/// [r', O, r_1] there; Tucker has no such names (`InputError`). `whole` holds
/// every parameter of `registry` by its global name and in its global shape
/// (fewer is an error).
NamedTensors to_nanogpt(const dist::ParameterRegistry& registry,
                        const NamedTensors& whole);

/// The reverse: every parameter of `registry` by its global name. Throws
/// `InputError` naming a tensor that is missing or has another shape. Further
/// tensors (lm_head.weight, tied) are left aside.
NamedTensors from_nanogpt(const dist::ParameterRegistry& registry,
                          const NamedTensors& nanogpt);

}  // namespace mumoe::run

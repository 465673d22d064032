#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "study/experts/closer_look.h"

namespace mumoe::study {

/// What turns the residual stream into logits: their direct part, in fp32.
struct Unembedding {
  at::Tensor head;  ///< [V, C]
  at::Tensor norm;  ///< [C], the weight of the last norm.
};

/// Of a GPT-2 whose parameters are `registry`'s. Collective over tp.
Unembedding unembedding_of(const dist::ParameterRegistry& registry);

/// A token whose logit an expert raises, and by how much, before the last norm
/// divides by the stream's deviation.
struct PromotedToken {
  std::int64_t id = 0;
  double logit = 0;
};

/// The `count` tokens of the first `vocabulary` that each expert of a gate
/// promotes most, largest first; none of an expert without examples.
///
/// An expert's part of a block's output at a token is what the output loses if
/// its coefficient is set to 0 in both layers, all else as it is: y(a) −
/// y(a, a_n = 0). The mean d of it over the top examples of `examples` goes
/// straight to the head: (d − mean d) ∘ w · Eᵀ, with the last norm's weight w
/// and the embedding E. What later blocks make of it, and the last norm's
/// divisor, which is one number for all tokens of the vocabulary, are left out.
/// `block` is the gate's, whose level is `level`. Collective over tp.
std::vector<std::vector<PromotedToken>> promoted_tokens(
    const MuMoEBlock& block,
    std::size_t level,
    std::span<const ExpertExamples> examples,
    const GateSurroundings& surroundings,
    const Unembedding& unembedding,
    std::int64_t vocabulary,
    std::int64_t count);

/// d of each expert, [N, O]; zeros of an expert without examples.
at::Tensor mean_parts(const MuMoEBlock& block,
                      std::size_t level,
                      std::span<const ExpertExamples> examples,
                      const GateSurroundings& surroundings);

}  // namespace mumoe::study

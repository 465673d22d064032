#pragma once

namespace mumoe {

/// How gate logits are normalised before the activation: over the experts of
/// their own token, over all tokens of the batch expert by expert, or not at
/// all. Mean 0, variance 1, eps 1e-5, no affine.
enum class GateNorm { layer, batch, none };

}  // namespace mumoe

#pragma once

namespace mumoe {

/// How a row of gate logits is normalised before entmax: over the experts of
/// its own token (mean 0, variance 1, eps 1e-5, no affine), or not at all.
enum class GateNorm { layer, none };

}  // namespace mumoe

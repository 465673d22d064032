#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace mumoe::model {

/// A part of a model: what it makes of its inputs. `again`: this pass repeats
/// an earlier one, of which nothing but the result is wanted.
using Part =
    std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs,
                                          bool again)>;

/// What `part` makes of `inputs` (all defined, floating), of which alone
/// something is kept: in backward the part is computed again, and what comes of
/// it must have the same bits (Chen et al., arXiv 1604.06174). Gradients of the
/// parameters that it uses are added to them in that pass, as theirs would be.
/// What `part` refers to must outlive the graph. Collectives of `part` are
/// repeated, in the same order on all ranks. For .backward(), not for
/// torch::autograd::grad.
std::vector<at::Tensor> recomputed(const std::vector<at::Tensor>& inputs,
                                   Part part);

}  // namespace mumoe::model

#pragma once

#include <string_view>

namespace mumoe {

/// How a block of two layers (C → H → C) is cut over the ranks of a tp group.
/// Elements that ranks exchange per token, forward and backward, are in the
/// folder's README.
///   sequence    O of layer 1 and I of layer 2 are cut; everywhere else tokens
///               are. Nothing is computed twice. Gradients of what is whole on
///               all ranks are partial.
///   bottleneck  the same cut, but all ranks hold all tokens: what lies outside
///               the wide part is computed on each of them.
///   rank        the rank that sums input and output (R, r₃ of a ring) is cut
///               in both layers: moves most, a control of correctness.
enum class Plan { sequence, bottleneck, rank };

std::string_view to_string(Plan plan);

}  // namespace mumoe

#pragma once

#include <cstddef>
#include <string_view>

namespace mumoe::dist {

enum class ReduceOp { sum, avg, min, max };

/// Operations, by which `Communicator::traffic` counts.
enum class Op {
  all_reduce,
  all_gather,
  reduce_scatter,
  all_to_all,
  broadcast,
  barrier,
};
inline constexpr std::size_t kOps = 6;

std::string_view to_string(Op op);
std::string_view to_string(ReduceOp op);

}  // namespace mumoe::dist

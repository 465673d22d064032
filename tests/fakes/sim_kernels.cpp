#include "tests/fakes/sim_kernels.h"

#include <map>
#include <set>

namespace mumoe::fakes {

// One for most: elementwise operators, reductions, products (cuBLAS without
// split-K). Read from LibTorch's CUDA sources, not measured.
std::int64_t kernels_of(const std::string& name) {
  static const std::map<std::string, std::int64_t> several = {
      // The gradients of x, and those of weight and bias.
      {"aten::native_layer_norm_backward", 2},
      // Maximum, difference, exponential, sum, logarithm, sum.
      {"aten::logsumexp", 6},
      // Two sorts' passes, their bounds, the sums.
      {"aten::embedding_dense_backward", 6},
      {"aten::index_put_", 6},
      {"aten::nonzero", 4},
  };
  const auto found = several.find(name);
  return found == several.end() ? 1 : found->second;
}

std::int64_t passes_over(const std::string& name, int operand) {
  static const std::map<std::string, std::set<int>> rewritten = {
      {"adamw", {0, 2, 3}},    // master, moments
      {"cross-entropy", {0}},  // logits
      {"cross-entropy gradient", {0}},
  };
  // It is given all that the kernel before it has, and reads sums of rows.
  if (name == "norm sums") return 0;
  const auto found = rewritten.find(name);
  return found != rewritten.end() && found->second.count(operand) > 0 ? 2 : 1;
}

}  // namespace mumoe::fakes

#pragma once

#include <cstdint>

#include "mumoe/kernels/bf16.h"
#include "mumoe/kernels/combine_shape.h"

// What combine_cpu.cpp defines once per instruction set, for combine.cpp to
// choose from. `scratch` is `combine_scratch(shape)` values.

namespace mumoe::kernels {

/// The mixed rows, their gradients and products, G and its gradient, q + b, dc
/// and the active experts, in values of 8 bytes.
constexpr std::int64_t combine_scratch(const CombineShape& shape) {
  std::int64_t mixed = 0;
  for (int e = 0; e < shape.levels; ++e) mixed += shape.mixed[e];
  return 2 * mixed + 2 * shape.product() +
         (2 * kMaxLevels + 4) * shape.longest_product() +
         2 * shape.projection() + 2 * shape.result() +
         2 * shape.most_experts() + 256;
}

#define MUMOE_DECLARE_COMBINE(isa)                                 \
  namespace isa {                                                  \
  template <class E>                                               \
  void combine_forward(const CombineShape& shape,                  \
                       const CombineForward<E>& matrices,          \
                       std::int64_t first,                         \
                       std::int64_t last,                          \
                       double* scratch);                           \
  template <class E>                                               \
  void combine_backward(const CombineShape& shape,                 \
                        const CombineBackward<E>& matrices,        \
                        std::int64_t first,                        \
                        std::int64_t last,                         \
                        double* scratch);                          \
  template <class E>                                               \
  void expert_gradient(const E* coefficients,                      \
                       const E* grad_mixed,                        \
                       E* grad_expert,                             \
                       std::int64_t rows,                          \
                       std::int64_t experts,                       \
                       std::int64_t width,                         \
                       std::int64_t first,                         \
                       std::int64_t last,                          \
                       bool accumulate,                            \
                       double* scratch);                           \
  template <class E>                                               \
  std::int64_t count_nonzero(const E* values, std::int64_t count); \
  }

MUMOE_DECLARE_COMBINE(portable)
MUMOE_DECLARE_COMBINE(avx2)
MUMOE_DECLARE_COMBINE(avx512)
MUMOE_DECLARE_COMBINE(avx512_bf16)

#undef MUMOE_DECLARE_COMBINE

}  // namespace mumoe::kernels

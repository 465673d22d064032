#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "mumoe/gemm.h"

namespace mumoe {

/// A product [m, k] · [k, n] of a forward pass; backward has two more of the
/// same size, [m, n] · [n, k] and [k, m] · [m, n].
struct Product {
  std::int64_t m = 0;
  std::int64_t k = 0;
  std::int64_t n = 0;
  /// How often a forward pass has it; it is measured once.
  double times = 1;

  /// Of all three, once, two for a multiply-accumulate.
  double flops() const {
    return 6.0 * static_cast<double>(m) * static_cast<double>(k) *
           static_cast<double>(n);
  }
};

/// A way to compute products.
struct GemmWay {
  at::ScalarType dtype = at::kFloat;
  GemmLibrary library = GemmLibrary::mkl;  ///< Of fp32 on a CPU.
};

/// How fast a way is, FLOP/s.
struct GemmRate {
  double overall = 0;  ///< All products one after the other.
  double peak = 0;     ///< The fastest of them.
};

/// What a measurement may cost; at least two rounds are run.
struct RateBudget {
  std::chrono::milliseconds time{500};
  int rounds = 6;
  /// Between rounds: what slows a machine down for a moment shall not slow all
  /// of them.
  std::chrono::milliseconds pause{20};
};

/// What a product of a run multiplies, [rows, columns]: random numbers of
/// standard deviation 1. Equal ones change so few bits in a GPU that it runs an
/// eighth faster. A quarter of a million of them, drawn on the CPU, repeat.
at::Tensor random_operand(std::int64_t rows,
                          std::int64_t columns,
                          at::ScalarType dtype,
                          at::Device device);

/// The rates of `ways`, one each, at `products`, forward and backward: of each
/// product its best time in several rounds, in which all ways take turns, so
/// that a machine that is slow for a moment is slow for all of them. On a GPU
/// of random operands, on a CPU, which does not mind, of ones.
std::vector<GemmRate> measure_gemm_rates(const std::vector<Product>& products,
                                         const std::vector<GemmWay>& ways,
                                         at::Device device,
                                         const RateBudget& budget = {});

/// The same products with fewer rows, so that all of them together take at most
/// `flops`, but no fewer than 128 rows where there were as many.
std::vector<Product> with_fewer_rows(std::vector<Product> products,
                                     double flops);

}  // namespace mumoe

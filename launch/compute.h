#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "launch/figures.h"
#include "mumoe/gemm_rate.h"
#include "run/options.h"

namespace mumoe::launch {

/// What a run computes with.
struct Compute {
  at::ScalarType dtype;
  at::Device device;
  GemmLibrary gemm = GemmLibrary::mkl;
  /// Why it is so: a line for each choice that was left open.
  std::vector<std::string> reasons = {};

  /// `options`, with precision and library as chosen.
  run::Options settled(run::Options options) const;
};

/// Rates at a model's products, on one rank while the others measure too. A way
/// that this CPU or this LibTorch does not have has the rate 0.
struct ComputeFigures {
  GemmRate bf16;
  GemmRate mkl;
  GemmRate onednn;

  double fp32(GemmLibrary library) const {
    return (library == GemmLibrary::mkl ? mkl : onednn).overall;
  }
};

/// `train.gemm = auto`: the preferred library, unless the other is clearly
/// faster. What is about as fast would change from run to run.
GemmLibrary choose_gemm(const ComputeFigures& figures, GemmLibrary preferred);

/// `train.precision = auto` on a CPU: fp32, unless bf16 is clearly faster.
run::Precision choose_precision(const ComputeFigures& figures,
                                GemmLibrary gemm);

/// Settles `auto` for precision and GEMM library. On GPUs: bf16. On CPUs by
/// rates at the model's products with `micro_batch` samples, which are measured
/// by all ranks at once when a machine first does such a run, and then
/// remembered (`Figures`), so that one command chooses alike each time; rank 0
/// decides. Collective.
Compute choose_compute(run::Options options,
                       dist::Communicator& world,
                       at::Device device,
                       std::int64_t micro_batch);

/// What is remembered of this machine at the products of the model of
/// `options`. Collective.
Figures compute_figures(const run::Options& options,
                        at::Device device,
                        dist::Communicator& world,
                        std::int64_t micro_batch);

/// FLOP/s of all ranks at the fastest of the products of the model of
/// `options`, forward and backward, while all ranks compute: the most that was
/// seen on this machine, now or at an earlier run. Of the null backend, this
/// rank's rate times their number. Collective.
double measure_peak_flops(const run::Options& options,
                          const Compute& compute,
                          dist::Communicator& world,
                          std::int64_t micro_batch);

}  // namespace mumoe::launch

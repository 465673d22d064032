#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "dist/communicator.h"
#include "launch/options.h"

namespace mumoe::launch {

/// Gradient bytes of one bucket of the reducer.
inline constexpr std::int64_t kBucketBytes = std::int64_t{4} << 20;

/// What a run computes with.
struct Compute {
  at::ScalarType dtype;
  at::Device device;
};

/// Settles `auto` for precision, device and GEMM library, on rank 0 for all,
/// and writes the choice into `options`. bf16 where it is multiplied natively,
/// else fp32. Throws `InputError` for a device that this version cannot use.
/// Collective.
Compute choose_compute(Options& options, dist::Communicator& world);

/// Takes over from a checkpoint's settings what was chosen automatically, where
/// `options` still say `auto`.
void replay_choices(Options& options,
                    const std::map<std::string, std::string>& settings);

/// FLOP/s of square matrix products in `compute`, all ranks together and all at
/// once. What `mfu` compares with. Collective.
double measure_peak_flops(const Compute& compute,
                          GemmLibrary gemm,
                          dist::Communicator& world);

}  // namespace mumoe::launch

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dist/params/bucket_layout.h"
#include "dist/process_mesh.h"
#include "mumoe/sharding.h"
#include "run/options.h"

// How a run lays its parameters out, as its device likes it.

namespace mumoe::train {

/// Gradient bytes of one bucket of the reducer on a CPU.
inline constexpr std::int64_t kBucketBytes = std::int64_t{4} << 20;

/// The ranks whose samples a batch norm takes its statistics over.
dist::Communicator* batch_group(const dist::ProcessMesh& mesh,
                                const Sharding& sharding);

/// How a run on `device` lays its parameters out: on a GPU so that products are
/// fast and its operations few.
dist::BucketOptions bucket_options(const run::ParallelOptions& parallel,
                                   const Sharding& sharding,
                                   at::Device device);
/// `row_multiple` of its registry.
std::int64_t row_multiple(at::Device device);
/// What the start table says of both; nothing on a CPU.
std::vector<std::string> describe_layout(at::Device device);

}  // namespace mumoe::train

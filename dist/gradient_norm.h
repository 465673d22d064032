#pragma once

#include "dist/flat_buckets.h"
#include "dist/process_mesh.h"

namespace mumoe::dist {

/// The 2-norm of the whole model's gradient, from buckets already summed over
/// dp. Parameters cut over tp are summed over its ranks, replicated ones count
/// once. Accumulated in fp64; the same bits on every rank. Collective over tp,
/// then over the world.
double gradient_norm(const FlatBuckets& buckets, ProcessMesh& mesh);

}  // namespace mumoe::dist

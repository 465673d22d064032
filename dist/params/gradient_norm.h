#pragma once

#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"

namespace mumoe::dist {

/// The 2-norm of the whole model's gradient, from buckets that have been
/// reduced. Every rank adds the squares of the part that it counts
/// (`Bucket::counted`), so that each element of the model counts once at any
/// layout; one sum over the world follows. Accumulated in fp64; the same bits
/// on every rank. Collective over the world.
double gradient_norm(const FlatBuckets& buckets, const ProcessMesh& mesh);

}  // namespace mumoe::dist

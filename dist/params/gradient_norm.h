#pragma once

#include <ATen/core/Tensor.h>

#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"

namespace mumoe::dist {

/// This rank's part of the squared 2-norm of the whole model's gradient, from
/// buckets that have been reduced: the squares of what it counts
/// (`Bucket::counted`), so that over the world each element of the model counts
/// once at any layout. [1], fp64, where the buckets are: nobody waits for a
/// device.
at::Tensor gradient_squares(const FlatBuckets& buckets);

/// The norm, from every rank's part on a CPU, which is changed: one sum over
/// the world. The same bits on every rank. Collective over the world.
double norm_of_squares(const at::Tensor& squares, const ProcessMesh& mesh);

/// Both, one after the other.
double gradient_norm(const FlatBuckets& buckets, const ProcessMesh& mesh);

}  // namespace mumoe::dist

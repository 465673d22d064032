#include "dist/params/gradient_norm.h"

#include <ATen/ATen.h>

namespace mumoe::dist {

double gradient_norm(const FlatBuckets& buckets, const ProcessMesh& mesh) {
  // Read back once: each look at a device would wait for it.
  at::Tensor squares = at::zeros(
      {1},
      at::TensorOptions(at::kDouble).device(buckets.registry().device()));
  for (const Bucket& bucket : buckets.buckets()) {
    if (bucket.counted.count == 0) continue;
    const at::Tensor norm =
        at::linalg_vector_norm(bucket.counted.of(bucket.grad),
                               2,
                               std::nullopt,
                               false,
                               at::kDouble);
    squares.addcmul_(norm, norm);
  }
  squares = squares.to(at::kCPU);
  mesh.control().all_reduce(squares);
  return squares.sqrt().item<double>();
}

}  // namespace mumoe::dist

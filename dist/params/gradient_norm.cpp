#include "dist/params/gradient_norm.h"

#include <ATen/ATen.h>

namespace mumoe::dist {

at::Tensor gradient_squares(const FlatBuckets& buckets) {
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
  return squares;
}

double norm_of_squares(const at::Tensor& squares, const ProcessMesh& mesh) {
  mesh.control().all_reduce(squares);
  return squares.sqrt().item<double>();
}

double gradient_norm(const FlatBuckets& buckets, const ProcessMesh& mesh) {
  return norm_of_squares(gradient_squares(buckets).to(at::kCPU), mesh);
}

}  // namespace mumoe::dist

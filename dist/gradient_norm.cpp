#include "dist/gradient_norm.h"

#include <ATen/ATen.h>

#include <cmath>

namespace mumoe::dist {
namespace {

double sum_of_squares(const at::Tensor& flat) {
  const double norm =
      at::linalg_vector_norm(flat, 2, std::nullopt, false, at::kDouble)
          .item<double>();
  return norm * norm;
}

}  // namespace

double gradient_norm(const FlatBuckets& buckets, ProcessMesh& mesh) {
  double whole = 0;
  at::Tensor cut = at::zeros({1}, at::kDouble);
  for (const Bucket& bucket : buckets.buckets()) {
    const double squares = sum_of_squares(bucket.grad);
    if (bucket.cut) {
      cut += squares;
    } else {
      whole += squares;
    }
  }
  mesh.tp().all_reduce(cut);
  const at::Tensor norm = (cut + whole).sqrt_();
  // Unlike CPUs may add in unlike orders; a replica that clipped by another
  // last bit would drift away.
  mesh.world().broadcast(norm, 0);
  return norm.item<double>();
}

}  // namespace mumoe::dist

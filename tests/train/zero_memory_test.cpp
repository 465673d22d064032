// What a rank's memory holds, by the size of its process.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdio>

#include "dist/params/flat_buckets.h"
#include "tests/support/memory.h"
#include "tests/support/mpi_main.h"
#include "train/optimizer.h"

namespace mumoe {
namespace {

constexpr std::int64_t kParameters = std::int64_t{24} << 20;
constexpr double kMiB = 1 << 20;

/// What weights, gradients and optimizer state of a bf16 run add to the
/// process, once all of it has been touched.
double grown_mib(dist::ProcessMesh& mesh, int zero) {
  malloc_trim(0);
  const double before = testing::private_mib();
  dist::ParameterRegistry registry(mesh.tp(), at::kBFloat16, at::kCPU);
  constexpr std::int64_t kEach = kParameters / 24;
  for (int i = 0; i < 24; ++i) {
    registry.add({.name = std::to_string(i),
                  .global_shape = {kEach},
                  .placement = {},
                  .init = {}});
  }
  dist::FlatBuckets buckets(registry, mesh, {.zero = zero});
  train::AdamW optimizer({}, buckets);
  for (const auto& bucket : buckets.buckets()) bucket.grad.fill_(1);
  optimizer.step(1e-3, 1);
  buckets.await();
  mesh.control().barrier();
  malloc_trim(0);
  const double grown = testing::private_mib() - before;
  mesh.control().barrier();
  return grown;
}

// 6 bytes a parameter for the weight and the gradient, and 12 for the master
// and both moments, over dp with ZeRO.
TEST(ZeroMemory, ProcessesShrinkByTheStateOfOtherRanks) {
  auto& world = testing::mpi_world();
  dist::ProcessMesh mesh(world, 0, 1);
  grown_mib(mesh, 1);  // buffers of the transport stay
  const double whole = grown_mib(mesh, 0);
  const double sharded = grown_mib(mesh, 1);
  const double each = static_cast<double>(kParameters) / kMiB;
  std::printf("rank %d of %d: %.1f MiB whole, %.1f MiB sharded\n",
              world.rank(),
              world.size(),
              whole,
              sharded);
  EXPECT_NEAR(whole / (18 * each), 1, 0.05);
  EXPECT_NEAR(sharded / ((6 + 12.0 / world.size()) * each), 1, 0.05);
}

}  // namespace
}  // namespace mumoe

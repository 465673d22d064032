#include "train/parameter_layout.h"

#include <fmt/format.h>

namespace mumoe::train {
namespace {

// A GPU starts an operation in some microseconds, in which it could add up
// megabytes: 32 MiB are 0.1 to 0.2 ms of a fast link. Products are fastest with
// matrices at multiples of 128 bytes whose rows are multiples of 16 bytes.
constexpr std::int64_t kGpuBucketBytes = std::int64_t{32} << 20;
constexpr std::int64_t kGpuAlign = 64;
constexpr std::int64_t kGpuRowMultiple = 8;

}  // namespace

dist::Communicator* batch_group(const dist::ProcessMesh& mesh,
                                const Sharding& sharding) {
  return sharding.region().tokens_cut() ? &mesh.dp_tp() : &mesh.dp();
}

dist::BucketOptions bucket_options(const run::ParallelOptions& parallel,
                                   const Sharding& sharding,
                                   at::Device device) {
  return {.bytes = device.is_cuda() ? kGpuBucketBytes : kBucketBytes,
          .align = device.is_cuda() ? kGpuAlign : 1,
          .zero = parallel.zero,
          .whole_is_partial = sharding.region().tokens_cut()};
}

std::int64_t row_multiple(at::Device device) {
  return device.is_cuda() ? kGpuRowMultiple : 1;
}

std::vector<std::string> describe_layout(at::Device device) {
  if (!device.is_cuda()) return {};
  return {fmt::format(
      "buckets of {} MiB of gradients; parameters begin at multiples of {} "
      "elements, rows of mixtures' ranks at multiples of {}",
      kGpuBucketBytes >> 20,
      kGpuAlign,
      kGpuRowMultiple)};
}

}  // namespace mumoe::train

#pragma once

#include <algorithm>
#include <cstdint>

#include "mumoe/kernels/cuda_group.h"
#include "mumoe/kernels/cuda_launch.h"
#include "mumoe/kernels/cuda_pack.h"

// How many coefficients are not zero; for .cu files.

namespace mumoe::kernels {

constexpr int kCountThreads = 256;
constexpr std::int64_t kCountBlocks = 1024;  // one addition to memory each

/// Adds to `*sum` how many of `packs` · kPack values, and of the `rest` behind
/// them, are not zero.
template <class E, int kPack>
__global__ void count_kernel(const E* __restrict__ values,
                             std::int64_t packs,
                             int rest,
                             unsigned long long* __restrict__ sum) {
  const std::int64_t first =
      std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  int found = 0;
  for (std::int64_t i = first; i < packs; i += step) {
    Compute<E> value[kPack];
    load_pack<kPack>(values + i * kPack, value);
#pragma unroll
    for (int k = 0; k < kPack; ++k) found += value[k] != 0;
  }
  if (first < rest) found += load_value(values[packs * kPack + first]) != 0;
  found = BlockGroup<kCountThreads>::reduce(found, Add{});
  if (threadIdx.x == 0 && found > 0) {
    atomicAdd(sum, static_cast<unsigned long long>(found));
  }
}

template <class E>
void count_nonzero(void* stream,
                   const E* values,
                   std::int64_t count,
                   std::int64_t* sum) {
  if (count == 0) return;
  with_pack<E>(alignment_of({values}), [&](auto pack) {
    constexpr int kPack = decltype(pack)::value;
    const std::int64_t packs = count / kPack;
    const std::int64_t blocks = (packs + kCountThreads - 1) / kCountThreads;
    launch("count",
           count_kernel<E, kPack>,
           std::clamp<std::int64_t>(blocks, 1, kCountBlocks),
           kCountThreads,
           stream,
           values,
           packs,
           static_cast<int>(count % kPack),
           reinterpret_cast<unsigned long long*>(sum));
  });
}

}  // namespace mumoe::kernels

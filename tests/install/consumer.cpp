#include <ATen/ATen.h>

#include <cstdio>

#include "dist/flat_buckets.h"
#include "dist/self_communicator.h"
#include "mumoe/block.h"

int main() {
  const auto self = mumoe::dist::make_self_communicator(at::kCPU);
  mumoe::dist::ParameterRegistry registry(*self, at::kFloat, at::kCPU);
  const mumoe::MuMoEBlock block({.input_dim = 8,
                                 .hidden_dim = 16,
                                 .output_dim = 8,
                                 .experts = {32},
                                 .rank = 4},
                                "block.",
                                registry);
  mumoe::dist::FlatBuckets buckets(registry, 1 << 20);
  buckets.initialise(1);
  const at::Tensor x = at::ones({2, 3, 8});
  const at::Tensor y = block.forward(x);
  y.sum().backward();
  const bool trained =
      registry.at("block.layer1.output").value.grad().defined();
  std::printf("%d %d %d %d\n",
              static_cast<int>(y.size(0)),
              static_cast<int>(y.size(1)),
              static_cast<int>(y.size(2)),
              trained);
  return 0;
}

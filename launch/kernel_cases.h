#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mumoe::launch {

/// Something that a GPU is given, and what it has to do for it.
struct KernelCase {
  std::string name;
  double bytes = 0;  ///< Operands read and results written, each once.
  double flops = 0;
  std::function<void()> run;
};

/// Tokens of a sequence.
inline constexpr std::int64_t kCaseContext = 1024;

/// What a micro-batch of the 124M recipe of `tokens` tokens runs on `device`,
/// in bf16 or fp32: each kernel and product alone (mumoe/kernels/README.md has
/// the page). `tokens`: a multiple of 4, and above a sequence of sequences.
std::vector<KernelCase> kernel_cases(std::int64_t tokens,
                                     at::ScalarType dtype,
                                     at::Device device);

}  // namespace mumoe::launch

#pragma once

#include <cstdint>
#include <string>

namespace mumoe::fakes {

/// How many kernels CUDA starts for operator `name` of LibTorch ("aten::mm").
std::int64_t kernels_of(const std::string& name);

/// How often the project's kernel `name` moves its `operand`, counted from 0:
/// 1, or 2 where it reads and writes it, or 0.
std::int64_t passes_over(const std::string& name, int operand);

}  // namespace mumoe::fakes

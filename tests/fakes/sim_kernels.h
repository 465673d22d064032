#pragma once

#include <cstdint>
#include <string>

namespace mumoe::fakes {

/// How many kernels CUDA starts for operator `name` of LibTorch ("aten::mm").
std::int64_t kernels_of(const std::string& name);

}  // namespace mumoe::fakes

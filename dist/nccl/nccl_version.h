#pragma once

#include <optional>
#include <string>

namespace mumoe::dist {

/// The version of the NCCL library that this process would use, "2.28.3";
/// nothing in a build without CUDA.
std::optional<std::string> nccl_version();

}  // namespace mumoe::dist

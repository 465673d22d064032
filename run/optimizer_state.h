#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace mumoe::run {

/// One number that an optimizer keeps for each of the parameters.
struct Moment {
  std::string name;  ///< In files, before that of the parameter.
  /// For each bucket, in dtype and shape of its master; undefined of buffers.
  std::vector<at::Tensor> shards;
};
/// All of them, as a value: whoever holds it shares their storage.
using OptimizerState = std::vector<Moment>;

/// How the names of weights begin in files.
inline constexpr const char* kMaster = "master.";

}  // namespace mumoe::run

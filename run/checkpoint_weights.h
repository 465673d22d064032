#pragma once

#include <filesystem>
#include <memory>

#include "run/manifest.h"
#include "run/weight_file.h"

namespace mumoe::run {

/// The tensors of a checkpoint, each put together from its pieces. What is
/// damaged is rebuilt in memory, where there is parity; else reading throws
/// `DamagedCheckpoint` naming file and tensor.
std::unique_ptr<WeightFile> open_checkpoint_weights(
    const std::filesystem::path& checkpoint,
    Manifest manifest);

}  // namespace mumoe::run

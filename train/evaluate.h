#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "data/samples.h"
#include "dist/process_mesh.h"
#include "model/model.h"
#include "train/evaluation.h"

namespace mumoe::train {

/// Over `count` fixed samples (all there are when they are fewer). They are
/// dealt over the dp ranks, `micro_batch` at a time.
/// The same on every rank. Nothing when `stop`, asked before each batch, says
/// so on any rank. Collective.
std::optional<Evaluation> evaluate(const model::Model& model,
                                   const data::Samples& samples,
                                   std::int64_t count,
                                   std::int64_t micro_batch,
                                   dist::ProcessMesh& mesh,
                                   at::Device device,
                                   const std::function<bool()>& stop);

}  // namespace mumoe::train

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/samples.h"
#include "model/language_model.h"
#include "study/experts/mean_routing.h"
#include "train/scores.h"

namespace mumoe::study {

/// The mean over its tokens of every hidden unit of the dense MLPs, behind
/// GELU, of each sample: "gates" are the MLPs, their experts the units. Of the
/// samples of `batches`, the same bits over any number of dp ranks. Throws
/// `InputError`, beginning with `what`, where there are no dense MLPs, and
/// where tp cuts them. Collective over all ranks of `scorer`.
MeanRouting mean_hidden_units(const model::Model& model,
                              const train::Scorer& scorer,
                              const data::Samples& samples,
                              const train::BatchList& batches,
                              const std::string& what);

}  // namespace mumoe::study

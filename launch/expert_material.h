#pragma once

#include "launch/study_data.h"
#include "run/options.h"
#include "study/experts/expert_study.h"

namespace mumoe::launch {

/// What can be shown of the samples of `data`, of a run with `options`: texts,
/// images, or the images that features are of, where these can be opened and
/// are the same.
study::Material expert_material(const run::Options& options,
                                const StudyData& data);

}  // namespace mumoe::launch

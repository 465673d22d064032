#pragma once

#include "study/predict/machine.h"
#include "study/predict/measured_runs.h"
#include "study/predict/step_work.h"

namespace mumoe::study {

/// Rows of the embedding of the measured GPTs.
constexpr double kMeasuredVocabulary = 51200;

/// What a rank of `run` does in a step: a dense GPT as Megatron-LM trains it in
/// fp16, each layer computed again in the backward pass, attention's scores
/// kept, gradients summed over dp after the last micro-step.
StepWork dense_gpt_work(const MeasuredRun& run, const Machine& machine);

}  // namespace mumoe::study

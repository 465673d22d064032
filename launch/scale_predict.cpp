#include "launch/scale_predict.h"

#include <memory>

#include "base/error.h"
#include "study/predict/own_predictor.h"
#include "study/predict/own_runs.h"
#include "train/batches.h"

namespace mumoe::launch {
namespace {

study::OwnRun run_of(const study::StudyCell& cell,
                     const study::OwnPredictor& predictor) {
  const run::Options& options = cell.options;
  const auto batch = train::BatchPlan::make(options.trainer.batch,
                                            options.trainer.micro_batch,
                                            cell.dp);
  return {.name = cell.name,
          .options = options,
          .layout = study::layout_of(options,
                                     {.dp = cell.dp, .tp = cell.tp},
                                     batch.micro_batch),
          .dtype = predictor.dtype_for(options.precision)};
}

study::Predicted predicted(const study::OwnPredictor& predictor,
                           const study::OwnRun& run) {
  const study::Prediction step = predictor.predict(run);
  return {.step_ms = 1e3 * step.seconds,
          .low_ms = 1e3 * step.low,
          .high_ms = 1e3 * step.high,
          .memory_mib = predictor.memory_bytes(run) / (1 << 20)};
}

}  // namespace

std::function<std::optional<study::Predicted>(const study::StudyCell&)>
predictions_from(const std::vector<std::string>& folders) {
  if (folders.empty()) return {};
  const auto predictor =
      std::make_shared<study::OwnPredictor>(study::own_runs(folders));
  return [predictor](
             const study::StudyCell& cell) -> std::optional<study::Predicted> {
    try {
      return predicted(*predictor, run_of(cell, *predictor));
    } catch (const InputError&) {
      return std::nullopt;  // the cell itself will say why
    }
  };
}

}  // namespace mumoe::launch

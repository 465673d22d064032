#pragma once

#include <vector>

#include "study/predict/dense_gpt.h"
#include "study/predict/step_time.h"

namespace mumoe::study {

/// Runs of every kind on a machine whose rates are known: each takes exactly
/// what these say.
inline std::vector<MeasuredRun> synthetic_runs(const Machine& machine,
                                               const Rates& rates) {
  std::vector<MeasuredRun> runs;
  for (const std::int64_t hidden : {1024, 2048, 4096}) {
    for (const std::int64_t tp : {1, 2, 4, 8}) {
      for (const std::int64_t dp : {1, 2, 4, 8}) {
        for (const std::int64_t micro_batch : {1, 4}) {
          if (tp * dp > 8) continue;
          MeasuredRun run;
          run.gpus = tp * dp;
          run.tp = tp;
          run.dp = dp;
          run.hidden = hidden;
          run.heads = 16;
          run.layers = 12 + 4 * dp;
          run.sequence = 1024;
          run.micro_batch = micro_batch;
          run.global_batch = 32;
          run.milliseconds =
              1e3 *
              step_time(dense_gpt_work(run, machine), machine, rates).total();
          runs.push_back(run);
        }
      }
    }
  }
  return runs;
}

}  // namespace mumoe::study

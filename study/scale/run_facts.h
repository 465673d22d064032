#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "run/options.h"
#include "study/scale/scale_result.h"

namespace mumoe::study {

/// What a model is, whatever its layout.
struct ModelCounts {
  std::int64_t parameters = 0;  ///< Trained ones.
  std::int64_t embeddings = 0;  ///< Of these, those of tokens and positions.
  /// Forward and backward, a token or an image.
  double flops_per_target = 0;
};

/// Made on the meta device.
ModelCounts count_model(const run::Options& options);

/// Fills in what the run directory `run` says of a run: config.cfg (settings as
/// they were settled), metrics.jsonl (times, rates, bytes, memory, loss, of all
/// steps but the first `skip`), provenance.json (hosts) and, of the model, its
/// size and FLOPs. Throws `InputError` naming the file: what is missing there,
/// or that it has no step after those.
void read_run(const std::filesystem::path& run,
              std::int64_t skip,
              ScaleResult& result);

/// The lines of `file`, a metrics.jsonl, that tell of a step after the first
/// `skip`. Throws `InputError` naming file and line, or that there is none.
std::vector<nlohmann::json> steps_in(const std::filesystem::path& file,
                                     std::int64_t skip);

/// What a step waited for communication, milliseconds, by a trace of rank 0
/// (`log.trace`): the median of the steps after the first `skip`, without the
/// last, which has the end of the run in it. None where the file is not there
/// or has no such step. Throws `InputError` where it is no trace.
std::optional<double> exposed_ms(const std::filesystem::path& trace,
                                 std::int64_t skip);

/// The middle of those `values` that are finite, or the mean of the two in the
/// middle; NaN of none.
double median(std::vector<double> values);

}  // namespace mumoe::study

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mumoe::study {

/// A measured run of a dense GPT without pipeline parallelism.
struct MeasuredRun {
  std::int64_t gpus = 0;
  std::int64_t global_batch = 0;  ///< sequences a step, of all ranks
  std::int64_t micro_batch = 0;   ///< sequences a rank holds at once
  std::int64_t hidden = 0;
  std::int64_t heads = 0;
  std::int64_t layers = 0;
  std::int64_t sequence = 0;
  std::int64_t tp = 0;
  std::int64_t dp = 0;
  double milliseconds = 0;  ///< of a step
  std::int64_t line = 0;    ///< of its file, from 1

  double micro_steps() const {
    return static_cast<double>(global_batch) /
           static_cast<double>(dp * micro_batch);
  }
};

/// The rows of a CSV file, whose columns are found by their names ("# GPUs",
/// "global batch", "micro batch", "hidden size", "attention heads", "# layers",
/// "sequence length", "tensor parallelism", "data parallelism", "iteration time
/// (ms)", and "pipeline parallelism", which must be 1 where there is one; of
/// others nothing is asked). Cells may be in quotation marks, with commas
/// between them. Throws `InputError`: file, line, column, what was expected;
/// also for a row that was not written to its end, unless it has all columns
/// and there are `notes`, which then say that it is left out.
std::vector<MeasuredRun> read_measured_runs(
    const std::filesystem::path& file,
    std::vector<std::string>* notes = nullptr);

/// The same of text; `name` stands in errors.
std::vector<MeasuredRun> parse_measured_runs(
    const std::string& text,
    const std::string& name,
    std::vector<std::string>* notes = nullptr);

}  // namespace mumoe::study

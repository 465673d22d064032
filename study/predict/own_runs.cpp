#include "study/predict/own_runs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "study/scale/run_facts.h"
#include "study/scale/scale_result.h"

namespace mumoe::study {
namespace {

at::ScalarType dtype_called(const std::string& precision) {
  if (precision == "bf16") return at::kBFloat16;
  return precision == "fp64" ? at::kDouble : at::kFloat;
}

OwnRun run_of(const std::filesystem::path& folder,
              const std::vector<const ScaleResult*>& repeats) {
  const ScaleResult& first = *repeats.front();
  OwnRun run{
      .name = first.cell,
      .options = run::read_config(folder / "cells" / first.cell /
                                  std::to_string(first.repeat) / "config.cfg"),
      .layout = {},
      .dtype = dtype_called(first.precision)};
  run.layout = layout_of(run.options,
                         {.dp = first.dp, .tp = first.tp},
                         first.micro_batch);
  run.layout.zero = first.zero;
  run.moved = {.dp = first.dp_bytes,
               .tp = first.tp_bytes,
               .all = first.all_bytes};
  std::vector<double> seconds, peaks, held;
  for (const ScaleResult* result : repeats) {
    seconds.push_back(result->step_ms * 1e-3);
    held.push_back(result->rss_mib * (1 << 20));
    const double flops = result->flops_per_target * result->targets_per_s;
    if (result->mfu > 0) peaks.push_back(flops / result->mfu / result->ranks);
  }
  run.seconds = median(seconds);
  require(!peaks.empty(),
          "{}: {}: no mfu, by which rates are compared",
          folder.string(),
          first.cell);
  run.peak_flops = median(peaks);
  std::ranges::sort(held);
  run.rss_bytes = held[(held.size() - 1) / 2];
  return run;
}

}  // namespace

std::string shape_of(const OwnRun& run) {
  const model::ModelConfig& m = run.options.model;
  return fmt::format("{} {} {}x{} {} {}x{} {}",
                     run.options.family,
                     m.mlp_name(),
                     m.width,
                     m.mlp.hidden_dim,
                     fmt::join(m.mlp.experts, ","),
                     m.depth,
                     run.options.family == "gpt2" ? m.context : m.patches(),
                     static_cast<int>(run.dtype));
}

std::vector<OwnRun> own_runs(const std::filesystem::path& folder) {
  const Results found = read_results(folder / "results.jsonl");
  std::map<std::string, std::vector<const ScaleResult*>> cells;
  for (const ScaleResult& result : found.results) {
    if (result.failed.empty()) cells[result.cell].push_back(&result);
  }
  require(!cells.empty(),
          "{}: no cell was measured",
          (folder / "results.jsonl").string());
  std::vector<OwnRun> runs;
  for (const auto& [name, repeats] : cells) {
    runs.push_back(run_of(folder, repeats));
  }
  return runs;
}

std::vector<OwnRun> own_runs(const std::vector<std::string>& folders) {
  std::vector<OwnRun> all;
  for (const std::string& folder : folders) {
    for (OwnRun& run : own_runs(std::filesystem::path(folder))) {
      all.push_back(std::move(run));
    }
  }
  return all;
}

}  // namespace mumoe::study

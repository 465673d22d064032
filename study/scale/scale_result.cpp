#include "study/scale/scale_result.h"

#include <concepts>
#include <type_traits>

#include "study/scale/json_members.h"
#include "study/scale/results_file.h"

namespace mumoe::study {

/// All members of a result with their names, for reading as for writing.
template <class Result, class Visit>
requires std::same_as<std::remove_const_t<Result>, ScaleResult>
void visit_members(Result& r, const Visit& visit) {
  visit("study", r.study);
  visit("cell", r.cell);
  visit("model", r.model);
  visit("scaling", r.scaling);
  visit("dp", r.dp);
  visit("tp", r.tp);
  visit("ranks", r.ranks);
  visit("nodes", r.nodes);
  visit("plan", r.plan);
  visit("zero", r.zero);
  visit("micro_batch", r.micro_batch);
  visit("batch", r.batch);
  visit("recompute", r.recompute);
  visit("precision", r.precision);
  visit("repeat", r.repeat);
  visit("steps", r.steps);
  visit("step_ms", r.step_ms);
  visit("step_ms_all", r.step_ms_all);
  visit("target", r.target);
  visit("targets_per_s", r.targets_per_s);
  visit("mfu", r.mfu);
  visit("sol", r.sol);
  visit("rss_mib", r.rss_mib);
  visit("gpu_mib", r.gpu_mib);
  visit("dp_bytes", r.dp_bytes);
  visit("tp_bytes", r.tp_bytes);
  visit("all_bytes", r.all_bytes);
  visit("exposed_ms", r.exposed_ms);
  visit("loss", r.loss);
  visit("parameters", r.parameters);
  visit("flops_per_target", r.flops_per_target);
  visit("predicted", r.predicted);
  visit("command", r.command);
  visit("config_hash", r.config_hash);
  visit("version", r.version);
  visit("finished", r.finished);
  visit("failed", r.failed);
  visit("code", r.code);
}

template <class Result, class Visit>
requires std::same_as<std::remove_const_t<Result>, Predicted>
void visit_members(Result& p, const Visit& visit) {
  visit("step_ms", p.step_ms);
  visit("low_ms", p.low_ms);
  visit("high_ms", p.high_ms);
  visit("memory_mib", p.memory_mib);
}

std::string to_json(const ScaleResult& result) {
  return line_of(result);
}

ScaleResult from_json(std::string_view line, const std::string& where) {
  return value_of_line<ScaleResult>(line, where, "a run of a scaling study");
}

Results read_results(const std::filesystem::path& file) {
  Results read;
  const auto [whole, note] =
      read_lines(file, [&](std::string_view line, const std::string& where) {
        read.results.push_back(from_json(line, where));
      });
  read.whole = whole;
  read.note = note;
  return read;
}

}  // namespace mumoe::study

#include "study/scale/run_facts.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "dist/null_communicator.h"
#include "dist/process_mesh.h"
#include "model/families.h"
#include "run/options.h"
#include "train/batches.h"

namespace mumoe::study {
namespace {

using nlohmann::json;

void read_settings(const std::filesystem::path& run, ScaleResult& result) {
  const run::Options options = run::read_config(run / "config.cfg");
  const auto batch = train::BatchPlan::make(options.trainer.batch,
                                            options.trainer.micro_batch,
                                            result.dp);
  const auto texts = run::to_map(options);
  result.plan = texts.at("parallel.plan");
  result.precision = texts.at("train.precision");
  result.zero = options.parallel.zero;
  result.micro_batch = batch.micro_batch;
  result.batch = batch.batch;
  result.recompute = options.model.recompute != model::Recompute::none;
  const ModelCounts counts = count_model(options);
  result.parameters = counts.parameters;
  result.flops_per_target = counts.flops_per_target;
}

/// The values of one member in all steps.
class Columns {
 public:
  Columns(const std::vector<json>& steps, std::string file)
      : steps_(steps), file_(std::move(file)) {}

  std::vector<double> all(const std::string& name) const {
    std::vector<double> values;
    for (const json& step : steps_) {
      const auto found = step.find(name);
      require(found != step.end() && (found->is_number() || found->is_null()),
              "{}: {}: expected a number in every step",
              file_,
              name);
      values.push_back(found->is_null()
                           ? std::numeric_limits<double>::quiet_NaN()
                           : found->get<double>());
    }
    return values;
  }
  double middle(const std::string& name) const { return median(all(name)); }
  double largest(const std::string& name) const {
    return std::ranges::max(all(name));
  }
  bool has(const std::string& name) const {
    return std::ranges::all_of(steps_, [&](const json& step) {
      return step.contains(name);
    });
  }

 private:
  const std::vector<json>& steps_;
  std::string file_;
};

int hosts_in(const std::filesystem::path& file) {
  const auto facts = parse_json(read_file(file), file.string());
  const auto hosts = facts.find("hosts");
  require(hosts != facts.end() && hosts->is_object() && !hosts->empty(),
          "{}: hosts: expected those of a run",
          file.string());
  return static_cast<int>(hosts->size());
}

/// A complete event of a trace, in microseconds.
struct Span {
  double begin;
  double end;
};

/// Those of the row called `row`.
std::vector<Span> spans_of(const json& events, const std::string& row) {
  json thread;
  std::vector<Span> spans;
  for (const json& event : events) {
    if (event.at("ph") == "M" && event.at("name") == "thread_name" &&
        event.at("args").at("name") == row) {
      thread = event.at("tid");
    }
  }
  for (const json& event : events) {
    if (event.at("ph") != "X" || event.at("tid") != thread) continue;
    const auto begin = event.at("ts").get<double>();
    spans.push_back({begin, begin + event.at("dur").get<double>()});
  }
  std::ranges::sort(spans, {}, &Span::begin);
  return spans;
}

/// How much of `step` at least one of `waits`, in order, covers.
double covered(const Span& step, const std::vector<Span>& waits) {
  double sum = 0, reached = step.begin;
  for (const Span& wait : waits) {
    const double from = std::max(wait.begin, reached);
    const double to = std::min(wait.end, step.end);
    sum += std::max(0.0, to - from);
    reached = std::max(reached, to);
  }
  return sum;
}

}  // namespace

ModelCounts count_model(const run::Options& options) {
  const auto world = dist::make_null_communicator({.dp = 1, .tp = 1});
  const dist::ProcessMesh mesh(*world, 1, 1);
  dist::ParameterRegistry registry(mesh.tp(), at::kFloat, at::kMeta);
  const model::Family& family = model::family(options.family);
  const auto model = family.make(options.model,
                                 registry,
                                 {Plan::sequence, &mesh.tp()},
                                 /*batch_group=*/nullptr);
  const bool tokens = family.learns_from == model::LearnsFrom::tokens;
  const std::int64_t targets = tokens ? options.model.context : 1;
  ModelCounts counts;
  counts.parameters = registry.global_numel();
  counts.flops_per_target =
      model->cost(1, at::kCPU).flops / static_cast<double>(targets);
  for (const dist::Parameter& parameter : registry.parameters()) {
    if (parameter.name != "wte" && parameter.name != "wpe") continue;
    counts.embeddings += parameter.global_numel();
  }
  return counts;
}

std::vector<json> steps_in(const std::filesystem::path& file,
                           std::int64_t skip) {
  const std::string text = read_file(file);
  std::vector<json> steps;
  int number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    const auto where = fmt::format("{}:{}", file.string(), ++number);
    auto entry = parse_json(text.substr(begin, end - begin), where);
    begin = end + 1;
    require(entry.is_object() && entry.contains("step") &&
                entry["step"].is_number_integer(),
            "{}: expected a step of a run",
            where);
    const bool counts = entry["step"] > skip && !entry.contains("event");
    if (counts) steps.push_back(std::move(entry));
  }
  require(!steps.empty(),
          "{}: has no step after the first {}",
          file.string(),
          skip);
  return steps;
}

void read_run(const std::filesystem::path& run,
              std::int64_t skip,
              ScaleResult& result) {
  read_settings(run, result);
  result.nodes = hosts_in(run / "provenance.json");
  const auto file = run / "metrics.jsonl";
  const auto steps = steps_in(file, skip);
  const Columns columns(steps, file.string());
  result.target = columns.has("tokens_per_s") ? "token" : "image";
  result.steps = static_cast<std::int64_t>(steps.size());
  result.step_ms_all = columns.all("step_ms");
  result.step_ms = median(result.step_ms_all);
  result.targets_per_s = columns.middle(result.target + "s_per_s");
  result.mfu = columns.middle("mfu");
  if (columns.has("sol")) result.sol = columns.middle("sol");
  result.rss_mib = columns.largest("rss_mib");
  if (columns.has("gpu_peak_mib")) {
    result.gpu_mib = columns.largest("gpu_peak_mib");
  }
  result.dp_bytes = columns.middle("dp_bytes");
  result.tp_bytes = columns.middle("tp_bytes");
  result.all_bytes = columns.middle("all_bytes");
  result.loss = columns.all("loss").back();
}

std::optional<double> exposed_ms(const std::filesystem::path& trace,
                                 std::int64_t skip) {
  std::error_code error;
  if (!std::filesystem::exists(trace, error)) return std::nullopt;
  const auto events = parse_json(read_file(trace), trace.string());
  try {
    const auto steps = spans_of(events, "steps");
    const auto waits = spans_of(events, "waits");
    std::vector<double> ms;
    for (auto i = static_cast<std::size_t>(skip); i + 1 < steps.size(); ++i) {
      ms.push_back(covered(steps[i], waits) / 1e3);
    }
    if (ms.empty()) return std::nullopt;
    return median(ms);
  } catch (const json::exception&) {
    fail<InputError>("{}: expected a trace of mumoe train", trace.string());
  }
}

double median(std::vector<double> values) {
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half]
                                : (values[half - 1] + values[half]) / 2;
}

}  // namespace mumoe::study

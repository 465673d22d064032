#include "launch/memory_fit.h"

#include <fmt/format.h>

#include <optional>
#include <vector>

#include "base/error.h"
#include "launch/memory_room.h"
#include "study/predict/run_cost.h"
#include "train/metrics.h"

namespace mumoe::launch {
namespace {

/// What is needed may be less than what is estimated: by this, at most.
constexpr double kCertain = 1.15;

/// A run, as far as its memory depends on it.
struct Question {
  const run::Options& options;
  study::RunLayout layout;
  at::ScalarType dtype;
  at::Device device;
  std::int64_t per_rank;
};

double need_of(const Question& run, const study::RunLayout& layout) {
  return study::cost_of_run(run.options, layout, run.dtype, run.device)
      .memory.model();
}

std::vector<at::ScalarType> dtypes_of(run::Precision precision) {
  switch (precision) {
    case run::Precision::bf16:
      return {at::kBFloat16};
    case run::Precision::fp32:
      return {at::kFloat};
    case run::Precision::fp64:
      return {at::kDouble};
    default:
      return {at::kBFloat16, at::kFloat};
  }
}

/// All that a run can be once what it leaves open is chosen.
std::vector<Question> questions_of(const run::Options& options,
                                   const train::BatchPlan& batch,
                                   const Session& session) {
  const dist::MeshShape mesh = session.mesh.shape();
  const at::Device device = session.chosen.device;
  std::vector<Plan> plans = {Plan::sequence, Plan::bottleneck, Plan::rank};
  if (mesh.tp == 1) plans.resize(1);
  if (options.parallel.plan) plans = {*options.parallel.plan};
  auto layout = study::layout_of(options, mesh, batch.micro_batch);
  std::vector<Question> all;
  for (const Plan plan : plans) {
    layout.plan = plan;
    for (const at::ScalarType dtype : dtypes_of(options.precision)) {
      all.push_back({options, layout, dtype, device, batch.per_rank});
    }
  }
  return all;
}

/// The same run with less in memory at once: the largest micro-batch first.
std::vector<study::RunLayout> smaller(const Question& run) {
  using model::Recompute;
  const study::RunLayout& layout = run.layout;
  std::vector<Recompute> recomputes = {layout.recompute};
  if (run.options.family == "gpt2" &&
      layout.recompute != Recompute::everything) {
    recomputes.push_back(Recompute::everything);
  }
  std::vector<study::RunLayout> all;
  for (auto micro = layout.micro_batch; micro >= 1; --micro) {
    if (run.per_rank % micro != 0) continue;
    for (const Recompute recompute : recomputes) {
      study::RunLayout one = layout;
      one.micro_batch = micro;
      one.recompute = recompute;
      if (one != layout) all.push_back(one);
    }
  }
  return all;
}

/// Throws unless `run`, which needs `needed`, fits. Collective.
void require_room(const Question& run, double needed, const Session& session) {
  const bool on_cpu = run.device.is_cpu();
  // Not what others leave at this moment: that is a warning's.
  const auto needs = gather_needs({needed, whole_memory(run.device)},
                                  session.mesh,
                                  session.alone);
  const auto lacks = [&](double most) {
    auto certain = needs;
    for (MemoryNeed& need : certain) need.needed = most;
    return lacking_memory(certain, session.hosts, session.alone || !on_cpu);
  };
  if (lacks(needed / kCertain).empty()) return;
  std::string would = "a smaller model, fewer ranks on a host, or more memory";
  for (const study::RunLayout& one : smaller(run)) {
    std::optional<double> less;
    try {
      less = need_of(run, one);
    } catch (const InputError&) {
      continue;  // the plan cannot cut so few samples
    }
    if (!lacks(*less).empty()) continue;
    would = fmt::format(
        "--train.micro_batch {} --train.recompute {}, which "
        "would fit",
        one.micro_batch,
        study::word_of(one.recompute));
    break;
  }
  fail<InputError>("memory: {}; expected {}", lacks(needed), would);
}

}  // namespace

Room::Room(at::Device device)
    : program(train::resident_mib() * (1 << 20)),
      available(available_memory(device)) {}

void require_fit(const run::Options& options,
                 const train::BatchPlan& batch,
                 const Session& session) {
  std::optional<Question> least;
  double needed = 0;
  for (const Question& run : questions_of(options, batch, session)) {
    std::optional<double> need;
    try {
      need = need_of(run, run.layout);
    } catch (const InputError&) {
      continue;  // no plan for this model, of which others tell
    }
    if (least && *need >= needed) continue;
    least.emplace(run);
    needed = *need;
  }
  if (least) require_room(*least, needed, session);
}

}  // namespace mumoe::launch

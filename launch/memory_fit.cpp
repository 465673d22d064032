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

study::RunLayout layout_of(const Settled& settled, const Session& session) {
  const dist::MeshShape mesh = session.mesh.shape();
  return {.dp = mesh.dp,
          .tp = mesh.tp,
          .plan = settled.plan.plan,
          .zero = settled.options.parallel.zero,
          .micro_batch = settled.batch.micro_batch,
          .recompute = settled.options.model.recompute};
}

double need_of(const Settled& settled, const study::RunLayout& layout) {
  return study::cost_of_run(settled.options,
                            layout,
                            settled.compute.dtype,
                            settled.compute.device)
      .memory.model();
}

/// The same run with less in memory at once: the largest micro-batch first.
std::vector<study::RunLayout> smaller(const study::RunLayout& layout,
                                      const Settled& settled) {
  using model::Recompute;
  std::vector<Recompute> recomputes = {layout.recompute};
  if (settled.options.family == "gpt2" &&
      layout.recompute != Recompute::everything) {
    recomputes.push_back(Recompute::everything);
  }
  std::vector<study::RunLayout> all;
  for (auto micro = layout.micro_batch; micro >= 1; --micro) {
    if (settled.batch.per_rank % micro != 0) continue;
    for (const Recompute recompute : recomputes) {
      study::RunLayout one = layout;
      one.micro_batch = micro;
      one.recompute = recompute;
      if (one != layout) all.push_back(one);
    }
  }
  return all;
}

}  // namespace

Room::Room(at::Device device)
    : program(train::resident_mib() * (1 << 20)),
      available(available_memory(device)) {}

void require_fit(const Settled& settled, const Session& session) {
  const bool on_cpu = settled.compute.device.is_cpu();
  const study::RunLayout layout = layout_of(settled, session);
  const double needed = need_of(settled, layout);
  // Not what others leave at this moment: that is a warning's.
  const auto needs =
      gather_needs({needed, whole_memory(settled.compute.device)},
                   session.mesh,
                   session.alone);
  const auto lacks = [&](double most) {
    auto certain = needs;
    for (MemoryNeed& need : certain) need.needed = most;
    return lacking_memory(certain, session.hosts, session.alone || !on_cpu);
  };
  if (lacks(needed / kCertain).empty()) return;
  std::string would = "a smaller model, fewer ranks on a host, or more memory";
  for (const study::RunLayout& one : smaller(layout, settled)) {
    std::optional<double> less;
    try {
      less = need_of(settled, one);
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

}  // namespace mumoe::launch

#include "dist/watch/fingerprint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "dist/process_mesh.h"

namespace mumoe::dist {
namespace {

// The name of a phase travels with what it says, cut to this length, so that a
// message can tell the phases of other ranks.
constexpr std::size_t kPhaseLength = 24;

struct Fingerprint {
  std::int64_t sequence = 0;
  std::int64_t op = 0;
  std::int64_t elements = 0;
  std::int64_t dtype = 0;
  std::int64_t reduce = 0;
  std::int64_t root = 0;
  char phase[kPhaseLength] = {};

  auto operator<=>(const Fingerprint&) const = default;
};
constexpr std::int64_t kWords = sizeof(Fingerprint) / sizeof(std::int64_t);
static_assert(kWords * sizeof(std::int64_t) == sizeof(Fingerprint));

Fingerprint make_fingerprint(const Collective& c, std::string_view phase) {
  Fingerprint mine{.sequence = c.sequence,
                   .op = static_cast<std::int64_t>(c.op),
                   .elements = c.elements,
                   .dtype = static_cast<std::int64_t>(c.dtype),
                   .reduce = static_cast<std::int64_t>(c.reduce),
                   .root = c.root};
  phase.copy(mine.phase, kPhaseLength);
  return mine;
}

std::string_view dtype_name(std::int64_t dtype) {
  switch (static_cast<at::ScalarType>(dtype)) {
    case at::kBFloat16:
      return "bf16";
    case at::kFloat:
      return "fp32";
    case at::kDouble:
      return "fp64";
    case at::kLong:
      return "int64";
    default:
      return c10::toString(static_cast<at::ScalarType>(dtype));
  }
}

// "all_reduce #3 of 12 fp32 (sum) in phase backward"
std::string describe(const Fingerprint& f) {
  const auto op = static_cast<Op>(f.op);
  std::string text = fmt::format("{} #{}", to_string(op), f.sequence);
  if (op != Op::barrier) {
    text += fmt::format(" of {} {}", f.elements, dtype_name(f.dtype));
  }
  if (op == Op::all_reduce || op == Op::reduce_scatter) {
    text += fmt::format(" ({})", to_string(static_cast<ReduceOp>(f.reduce)));
  }
  if (op == Op::broadcast) text += fmt::format(" from root {}", f.root);
  const std::string_view phase(f.phase, strnlen(f.phase, kPhaseLength));
  return fmt::format("{} in phase {}", text, phase);
}

// "rank 2" or "ranks 1, 3"; of many, the first.
std::string rank_list(const std::vector<int>& ranks,
                      const std::vector<std::int64_t>& world_ranks) {
  constexpr std::size_t kShown = 16;
  std::string text = ranks.size() == 1 ? "rank" : "ranks";
  for (std::size_t i = 0; i < std::min(ranks.size(), kShown); ++i) {
    text += fmt::format("{}{}", i == 0 ? " " : ", ", world_ranks[ranks[i]]);
  }
  if (ranks.size() > kShown)
    text += fmt::format(", ... ({} ranks)", ranks.size());
  return text;
}

// Empty when all are the same. What most ranks call comes last; of equally
// many, what the lowest rank calls.
std::string difference(const std::vector<Fingerprint>& all,
                       const std::vector<std::int64_t>& world_ranks) {
  std::map<Fingerprint, std::vector<int>> callers;
  for (std::size_t r = 0; r < all.size(); ++r) {
    callers[all[r]].push_back(static_cast<int>(r));
  }
  if (callers.size() == 1) return {};
  const auto most =
      std::ranges::max_element(callers, [](const auto& a, const auto& b) {
        return a.second.size() != b.second.size()
                   ? a.second.size() < b.second.size()
                   : a.second.front() > b.second.front();
      });
  std::string text;
  for (auto it = callers.begin(); it != callers.end(); ++it) {
    if (it == most) continue;
    text += fmt::format("{} called {}, ",
                        rank_list(it->second, world_ranks),
                        describe(it->first));
  }
  const bool one = most->second.size() == 1;
  return fmt::format("{}{}{}{}",
                     text,
                     one ? rank_list(most->second, world_ranks) : "the others",
                     one ? " called " : " ",
                     describe(most->first));
}

}  // namespace

FingerprintCheck::FingerprintCheck(const ProcessMesh& mesh) {
  const int rank = mesh.control().rank();
  watch(mesh, mesh.control(), 0, rank);
  watch(mesh, mesh.dp(), mesh.tp().rank(), mesh.dp().rank());
  watch(mesh, mesh.tp(), mesh.dp().rank(), mesh.tp().rank());
  watch(mesh, mesh.dp_tp(), 0, rank);
}

void FingerprintCheck::watch(const ProcessMesh& mesh,
                             const Communicator& group,
                             int color,
                             int key) {
  auto control = mesh.control().split(color, key, group.axis() + " check");
  MUMOE_CHECK(
      control->size() == group.size() && control->rank() == group.rank(),
      "axis {}: the world has other ranks than the group",
      group.axis());
  const auto mine = at::full({1}, mesh.control().rank(), at::kLong);
  const auto all = at::empty({control->size()}, at::kLong);
  control->all_gather(mine, all);
  const auto* ranks = all.const_data_ptr<std::int64_t>();
  groups_.push_back({&group, std::move(control), {ranks, ranks + all.numel()}});
}

void FingerprintCheck::begin(const Communicator& group,
                             const Collective& collective) {
  const auto watched = std::ranges::find(groups_, &group, &Watched::group);
  if (watched == groups_.end()) return;
  Communicator& control = *watched->control;
  control.set_deadline(group.deadline());
  control.set_phase(group.phase());

  const Fingerprint fingerprint = make_fingerprint(collective, group.phase());
  const auto mine = at::empty({kWords}, at::kLong);
  std::memcpy(mine.data_ptr(), &fingerprint, sizeof fingerprint);
  const auto gathered = at::empty({kWords * group.size()}, at::kLong);
  try {
    control.all_gather(mine, gathered);
  } catch (const CommunicationError& error) {
    fail<CommunicationError>("{}; before {} on axis {}",
                             error.what(),
                             describe(fingerprint),
                             group.axis());
  }
  std::vector<Fingerprint> all(group.size());
  std::memcpy(all.data(), gathered.data_ptr(), gathered.nbytes());
  const std::string text = difference(all, watched->world_ranks);
  if (!text.empty()) {
    fail<CommunicationError>("axis {}, ranks differ: {}", group.axis(), text);
  }
}

}  // namespace mumoe::dist

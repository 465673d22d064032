#include "train/expert_watch.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>
#include <string>

#include "base/error.h"

namespace mumoe::train {
namespace {

constexpr double kUnits = 1LL << 32;
constexpr int kBins = ExpertFigures::kLargestBins;

/// Rounded to units, so that sums are exact.
at::Tensor in_units(const at::Tensor& values) {
  return (values * kUnits).round_().to(at::kLong);
}

/// The first percentile of tokens in `counts`, bin by bin.
double percentile(const std::vector<std::int64_t>& counts,
                  std::int64_t tokens,
                  int percent,
                  std::int64_t experts) {
  std::int64_t below = 0;
  for (int bin = 0; bin < kBins; ++bin) {
    below += counts[static_cast<std::size_t>(bin)];
    if (100 * below < percent * tokens) continue;
    // Its geometric middle.
    return std::sqrt(largest_bin(bin, experts) * largest_bin(bin + 1, experts));
  }
  return 1;
}

double entropy_of(const std::vector<double>& shares) {
  double sum = 0;
  for (const double share : shares) {
    if (share > 0) sum -= share * std::log(share);
  }
  return sum;
}

/// What the sums of one gate say, of all ranks.
ExpertFigures figures_of(const std::string& layer,
                         std::int64_t experts,
                         const std::int64_t* sums) {
  ExpertFigures f{.layer = layer, .experts = experts, .tokens = sums[0]};
  const double tokens = static_cast<double>(f.tokens);
  const std::int64_t* const mean = sums + 2;
  const std::int64_t* const active = mean + experts;
  const std::int64_t* const chosen = active + experts;
  f.entropy = static_cast<double>(sums[1]) / kUnits / tokens;
  std::int64_t all = 0, in_all = 0;
  for (std::int64_t n = 0; n < experts; ++n) {
    all += active[n];
    in_all += mean[n];
    f.dead += active[n] == 0;
    f.idle += chosen[n] == 0;
  }
  const double count = static_cast<double>(experts);
  f.active = static_cast<double>(all) / (tokens * count);
  std::vector<double> shares;
  for (std::int64_t n = 0; n < experts; ++n) {
    shares.push_back(static_cast<double>(mean[n]) /
                     static_cast<double>(std::max<std::int64_t>(in_all, 1)));
    f.load.push_back(shares.back() * count);
  }
  f.effective = std::exp(entropy_of(shares));
  const std::int64_t* const bins = chosen + experts;
  f.largest_counts.assign(bins, bins + kBins);
  constexpr int kPercents[] = {10, 50, 90};
  for (std::size_t i = 0; i < 3; ++i) {
    f.largest[i] =
        percentile(f.largest_counts, f.tokens, kPercents[i], experts);
  }
  return f;
}

std::int64_t sums_of(std::int64_t experts) {
  return 2 + 3 * experts + kBins;
}

}  // namespace

ExpertWatch::ExpertWatch(std::span<const MuMoEBlock* const> blocks,
                         dist::ProcessMesh& mesh,
                         at::Device device)
    : blocks_(blocks), mesh_(mesh), device_(device) {
  if (blocks.empty()) return;
  // Of a tp group that has all of the same tokens, one rank tells of them.
  tells_ = mesh.tp().rank() == 0 ||
           blocks[0]->config().sharding.region().tokens_cut();
}

void ExpertWatch::begin() {
  drop();
  if (device_.is_meta()) return;
  counts_ = true;
  const auto whole = at::TensorOptions(at::kLong).device(device_);
  for (const MuMoEBlock* block : blocks_) {
    std::string name = block->prefix();
    if (name.ends_with('.')) name.pop_back();
    const auto& levels = block->config().experts;
    auto& gates = gates_.emplace_back();
    for (std::size_t level = 0; level < levels.size(); ++level) {
      const std::int64_t experts = levels[level];
      const at::Tensor edges = at::empty({kBins - 1}, at::kDouble);
      for (int bin = 1; bin < kBins; ++bin) {
        edges.data_ptr<double>()[bin - 1] = largest_bin(bin, experts);
      }
      gates.push_back(
          {levels.size() == 1 ? name : fmt::format("{}.{}", name, level),
           experts,
           at::zeros({sums_of(experts)}, whole),
           edges.to(device_)});
    }
  }
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i]->watch([this, i](const std::vector<at::Tensor>& coefficients) {
      if (!counts_) return;
      for (std::size_t level = 0; level < coefficients.size(); ++level) {
        add(gates_[i][level], coefficients[level]);
      }
    });
  }
}

void ExpertWatch::add(const Gate& gate, const at::Tensor& a_TN) {
  const at::NoGradGuard no_grad;
  const at::Tensor wide = a_TN.detach().to(at::kDouble);
  const std::int64_t tokens = wide.size(0), experts = gate.experts;
  const double idle = ExpertFigures::kIdleShare / static_cast<double>(experts);
  const auto of = [&](std::int64_t begin, std::int64_t count) {
    return gate.sums.narrow(0, begin, count);
  };
  of(0, 1).add_(tokens);
  of(1, 1).add_(in_units(at::special_entr(wide)).sum());
  of(2, experts).add_(in_units(wide).sum(0));
  of(2 + experts, experts).add_(wide.gt(0).sum(0));
  of(2 + 2 * experts, experts).add_(wide.ge(idle).sum(0));
  const at::Tensor bins = at::bucketize(wide.amax(1), gate.edges, false, true);
  of(2 + 3 * experts, kBins).index_add_(0, bins, at::ones_like(bins));
}

std::vector<ExpertFigures> ExpertWatch::finish() {
  if (gates_.empty()) return {};
  std::vector<at::Tensor> parts;
  for (const auto& block : gates_) {
    for (const Gate& gate : block) parts.push_back(gate.sums);
  }
  at::Tensor sums = at::cat(parts).cpu();
  if (!tells_) sums.zero_();
  mesh_.control().all_reduce(sums);
  std::vector<ExpertFigures> found;
  const std::int64_t* each = sums.const_data_ptr<std::int64_t>();
  for (const auto& block : gates_) {
    for (const Gate& gate : block) {
      found.push_back(figures_of(gate.layer, gate.experts, each));
      each += sums_of(gate.experts);
    }
  }
  drop();
  return found;
}

void ExpertWatch::drop() {
  if (gates_.empty()) return;
  for (const MuMoEBlock* block : blocks_) block->watch({});
  gates_.clear();
}

}  // namespace mumoe::train

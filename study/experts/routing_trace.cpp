#include "study/experts/routing_trace.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "study/experts/exact_sums.h"

namespace mumoe::study {
namespace {

constexpr std::int64_t kMost = GateTrace::kMost;

/// The largest of rows [T, N] as [T, 2 kMost]: experts + 1, 0 for none, then
/// their coefficients.
at::Tensor largest_of(const at::Tensor& a_TN) {
  const std::int64_t tokens = a_TN.size(0), experts = a_TN.size(1);
  const std::int64_t most = std::min(kMost, experts);
  const at::Tensor wide = a_TN.to(at::kDouble);
  auto [values, order] =
      at::sort(wide, /*stable=*/true, 1, /*descending=*/true);
  values = values.narrow(1, 0, most);
  const at::Tensor named =
      at::where(values > 0, order.narrow(1, 0, most) + 1, 0).to(at::kDouble);
  const at::Tensor found = at::zeros({tokens, 2 * kMost}, at::kDouble);
  found.narrow(1, 0, most).copy_(named);
  found.narrow(1, kMost, most).copy_(values.clamp_min(0));
  return found;
}

}  // namespace

Tracer::Tracer(std::span<const Gate> gates, std::vector<std::uint64_t> samples)
    : gates_(gates.size()),
      samples_(std::move(samples)),
      seen_(samples_.size() * gates_) {}

void Tracer::add(const RoutedBatch& batch) {
  const auto size = static_cast<std::int64_t>(batch.samples.size());
  for (std::int64_t row = 0; row < size; ++row) {
    const auto found = std::ranges::find(samples_, batch.samples[row]);
    if (found == samples_.end()) continue;
    const auto place = static_cast<std::size_t>(found - samples_.begin());
    for (std::size_t g = 0; g < gates_; ++g) {
      const at::Tensor& a_TN = batch.coefficients[g];
      const std::int64_t tokens = a_TN.size(0) / size;
      seen_[place * gates_ + g] =
          largest_of(a_TN.narrow(0, row * tokens, tokens));
    }
  }
}

std::vector<RoutingTrace> Tracer::finish(dist::Communicator& world,
                                         bool tells) {
  std::vector<std::int64_t> tokens;
  for (at::Tensor& seen : seen_) {
    if (!tells) seen.reset();
    tokens.push_back(seen.defined() ? seen.size(0) : 0);
  }
  merge_counts(world, tokens);
  std::vector<RoutingTrace> traces(samples_.size());
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    at::Tensor all = seen_[i];
    if (!all.defined()) all = at::zeros({tokens[i], 2 * kMost}, at::kDouble);
    world.all_reduce(all);
    GateTrace trace{.tokens = tokens[i]};
    const double* row = all.const_data_ptr<double>();
    for (std::int64_t t = 0; t < tokens[i]; ++t, row += 2 * kMost) {
      for (std::int64_t k = 0; k < kMost; ++k) {
        trace.experts.push_back(static_cast<std::int64_t>(row[k]) - 1);
        trace.coefficients.push_back(row[kMost + k]);
      }
    }
    traces[i / gates_].push_back(std::move(trace));
  }
  return traces;
}

}  // namespace mumoe::study

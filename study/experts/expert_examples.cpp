#include "study/experts/expert_examples.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <tuple>

#include "base/error.h"
#include "base/purposes.h"

namespace mumoe::study {
namespace {

// What a candidate is as numbers that ranks exchange: whether there is one, its
// sample, token, coefficient and draw.
constexpr std::int64_t kFields = 5;

bool before(const Example& one, const Example& other) {
  return std::tie(one.sample, one.token) < std::tie(other.sample, other.token);
}

}  // namespace

ExamplePicker::ExamplePicker(std::span<const Gate> gates,
                             const Options& options)
    : options_(options) {
  require(options.threshold > 0 && options.threshold <= 1,
          "--threshold {}: expected a coefficient above 0, at most 1",
          options.threshold);
  require(options.per_expert >= 1,
          "--per-expert {}: expected at least 1",
          options.per_expert);
  for (const Gate& gate : gates) {
    pools_.emplace_back(static_cast<std::size_t>(gate.experts));
  }
}

void ExamplePicker::add(const RoutedBatch& batch) {
  for (std::size_t g = 0; g < pools_.size(); ++g) {
    const at::Tensor wide = batch.coefficients[g].to(at::kDouble).contiguous();
    const double* a = wide.const_data_ptr<double>();
    const auto experts = pools_[g].size();
    const std::int64_t tokens =
        wide.size(0) / static_cast<std::int64_t>(batch.samples.size());
    for (const std::uint64_t sample : batch.samples) {
      for (std::int64_t token = 0; token < tokens; ++token, a += experts) {
        for (std::size_t n = 0; n < experts; ++n) {
          if (a[n] > 0) add(g, n, tokens, {sample, token, a[n]});
        }
      }
    }
  }
}

void ExamplePicker::add(std::size_t gate,
                        std::size_t expert,
                        std::int64_t tokens,
                        const Example& example) {
  const CounterRandom random(
      options_.seed,
      kExamplePurpose,
      std::uint64_t{gate} << 32 | static_cast<std::uint64_t>(expert));
  const auto bits =
      random.bits(example.sample * static_cast<std::uint64_t>(tokens) +
                  static_cast<std::uint64_t>(example.token));
  const auto draw = [&](std::size_t half) {
    return std::uint64_t{bits[2 * half]} << 32 | bits[2 * half + 1];
  };
  Pool& pool = pools_[gate][expert];
  // Draws of their own, lest both lists be of the same tokens.
  keep(pool.top, {example, draw(0)}, by_coefficient);
  if (example.coefficient >= options_.threshold) {
    keep(pool.drawn, {example, draw(1)}, by_draw);
  }
}

bool ExamplePicker::by_coefficient(const Candidate& one,
                                   const Candidate& other) {
  if (one.example.coefficient != other.example.coefficient) {
    return one.example.coefficient > other.example.coefficient;
  }
  return by_draw(one, other);
}

bool ExamplePicker::by_draw(const Candidate& one, const Candidate& other) {
  if (one.draw != other.draw) return one.draw < other.draw;
  return before(one.example, other.example);
}

void ExamplePicker::keep(std::vector<Candidate>& heap,
                         const Candidate& candidate,
                         Better better) const {
  const auto most = static_cast<std::size_t>(options_.per_expert);
  if (heap.size() == most && !better(candidate, heap.front())) return;
  heap.push_back(candidate);
  std::ranges::push_heap(heap, better);
  if (heap.size() <= most) return;
  std::ranges::pop_heap(heap, better);
  heap.pop_back();
}

void ExamplePicker::merge(dist::Communicator& world,
                          std::vector<Pool>& pools) const {
  const std::int64_t per_expert = options_.per_expert;
  const std::int64_t rows =
      static_cast<std::int64_t>(pools.size()) * 2 * per_expert;
  const at::Tensor mine = at::zeros({rows * kFields}, at::kLong);
  auto* to = mine.mutable_data_ptr<std::int64_t>();
  for (const Pool& pool : pools) {
    for (const auto* list : {&pool.top, &pool.drawn}) {
      auto* row = to;
      for (const auto& [example, draw] : *list) {
        *row++ = 1;
        *row++ = static_cast<std::int64_t>(example.sample);
        *row++ = example.token;
        *row++ = std::bit_cast<std::int64_t>(example.coefficient);
        *row++ = static_cast<std::int64_t>(draw);
      }
      to += per_expert * kFields;
    }
  }
  const at::Tensor all = at::empty({world.size() * rows * kFields}, at::kLong);
  world.all_gather(mine, all);
  std::vector<Pool> merged(pools.size());
  const auto* from = all.const_data_ptr<std::int64_t>();
  for (int rank = 0; rank < world.size(); ++rank) {
    for (Pool& pool : merged) {
      for (auto* heap : {&pool.top, &pool.drawn}) {
        const Better better = heap == &pool.top ? by_coefficient : by_draw;
        for (std::int64_t i = 0; i < per_expert; ++i, from += kFields) {
          if (from[0] == 0) continue;
          keep(*heap,
               {{static_cast<std::uint64_t>(from[1]),
                 from[2],
                 std::bit_cast<double>(from[3])},
                static_cast<std::uint64_t>(from[4])},
               better);
        }
      }
    }
  }
  pools = std::move(merged);
}

std::vector<Example> ExamplePicker::in_order(std::vector<Candidate>& heap,
                                             Better better) {
  std::ranges::sort(heap, better);
  std::vector<Example> examples;
  for (const Candidate& candidate : heap) {
    examples.push_back(candidate.example);
  }
  return examples;
}

std::vector<std::vector<ExpertExamples>> ExamplePicker::finish(
    dist::Communicator& world,
    bool tells) {
  std::vector<std::vector<ExpertExamples>> found;
  for (std::vector<Pool>& pools : pools_) {
    if (!tells) pools.assign(pools.size(), {});
    merge(world, pools);
    auto& experts = found.emplace_back();
    for (auto& [top, drawn] : pools) {
      experts.push_back(
          {in_order(top, by_coefficient), in_order(drawn, by_draw)});
    }
  }
  return found;
}

}  // namespace mumoe::study

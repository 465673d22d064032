#include "dist/watch/bandwidth.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "base/error.h"

namespace mumoe::dist {
namespace {

constexpr std::int64_t kSmallest = 64 << 10;
constexpr double kLongest = 0.05;  // seconds of one all_reduce

double seconds_of_all_reduce(Communicator& group, const at::Tensor& tensor) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  group.all_reduce(tensor);
  tensor[0].item<float>();  // waits for a device
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// After one that warms up.
double median_seconds(Communicator& group,
                      const at::Tensor& tensor,
                      int rounds) {
  std::vector<double> seconds;
  seconds_of_all_reduce(group, tensor);
  for (int round = 0; round < rounds; ++round) {
    seconds.push_back(seconds_of_all_reduce(group, tensor));
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

/// Rank 0's value, on all ranks.
double agreed(Communicator& group, double value, at::Device device) {
  const at::Tensor tensor =
      at::full({1}, value, at::TensorOptions(at::kDouble).device(device));
  group.broadcast(tensor, 0);
  return tensor.item<double>();
}

}  // namespace

double bus_factor(Op op, int ranks) {
  const double others = static_cast<double>(ranks - 1) / ranks;
  switch (op) {
    case Op::all_reduce:
      return 2 * others;
    case Op::all_gather:
    case Op::reduce_scatter:
    case Op::all_to_all:
      return others;
    case Op::broadcast:
      return ranks > 1 ? 1 : 0;
    case Op::barrier:
      return 0;
  }
  return 0;
}

Bandwidth measure_bandwidth(Communicator& group,
                            std::int64_t bytes,
                            at::Device device) {
  MUMOE_CHECK(bytes >= kSmallest, "a probe of {} bytes", bytes);
  if (group.size() == 1) return {0, std::numeric_limits<double>::infinity()};
  const auto options = at::TensorOptions(at::kFloat).device(device);
  Bandwidth found;
  found.latency_s =
      agreed(group, median_seconds(group, at::zeros({16}, options), 9), device);
  for (std::int64_t size = kSmallest; size <= bytes; size *= 4) {
    const at::Tensor tensor =
        at::zeros({size / static_cast<std::int64_t>(sizeof(float))}, options);
    const double seconds =
        agreed(group, median_seconds(group, tensor, 3), device);
    // A loaded machine may take longer over little than over much.
    const double moving = std::max(seconds - found.latency_s, seconds / 10);
    found.bytes_per_s = static_cast<double>(size) *
                        bus_factor(Op::all_reduce, group.size()) / moving;
    // The next one takes four times as long.
    if (4 * seconds > kLongest) break;
  }
  return found;
}

}  // namespace mumoe::dist

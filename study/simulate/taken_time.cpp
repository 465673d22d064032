#include "study/simulate/taken_time.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "study/scale/run_facts.h"

namespace mumoe::study {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 5;
constexpr double kSending = 0.02;   // seconds, by the link
constexpr double kComputing = 0.1;  // seconds: longer than what goes on behind
constexpr double kFewest = 64 << 10, kMost = 8 << 20;  // bytes
constexpr std::int64_t kWidth = 192;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Products of two matrices that a core keeps near.
class Products {
 public:
  /// So many of them, or more until `enough`: how many there were.
  template <class Enough>
  std::int64_t make(std::int64_t count, const Enough& enough) {
    std::int64_t made = 0;
    for (; made < count || !enough(); ++made) at::mm_out(out_, a_, b_);
    return made;
  }

 private:
  at::Tensor a_ = at::ones({kWidth, kWidth}), b_ = at::ones({kWidth, kWidth}),
             out_ = at::empty({kWidth, kWidth});
};

double mean_over(dist::Communicator& group, double value) {
  const at::Tensor sum = at::full({1}, value, at::kDouble);
  group.all_reduce(sum);
  return sum.item<double>() / group.size();
}

}  // namespace

double measure_taken(dist::Communicator& group, const dist::Bandwidth& link) {
  if (group.size() == 1) return 0;
  const at::NoGradGuard no_grad;
  const double factor = dist::bus_factor(dist::Op::all_reduce, group.size());
  const double bytes =
      std::clamp(kSending * link.bytes_per_s / factor, kFewest, kMost);
  const at::Tensor sent =
      at::zeros({static_cast<std::int64_t>(bytes / sizeof(float))});
  Products products;
  const auto always = [] { return true; };
  products.make(10, always);  // warm
  group.all_reduce(sent);
  group.barrier();
  auto began = Clock::now();
  products.make(10, always);
  // As many on all ranks.
  const auto count = std::max<std::int64_t>(
      10,
      std::llround(kComputing / mean_over(group, since(began) / 10)));
  std::vector<double> taken;
  for (int round = 0; round < kRounds; ++round) {
    group.barrier();
    began = Clock::now();
    products.make(count, always);
    const double one = since(began) / static_cast<double>(count);
    group.barrier();
    began = Clock::now();
    const dist::Work work = group.all_reduce_async(sent);
    const auto made = products.make(count, [&] { return work.done(); });
    taken.push_back(since(began) - one * static_cast<double>(made));
    work.wait();
  }
  const double seconds = mean_over(group, median(taken));
  return std::max(seconds, 0.0) / (bytes * factor);
}

}  // namespace mumoe::study

#include "mumoe/gemm_rate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <limits>
#include <thread>

#include "base/random.h"

namespace mumoe {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::int64_t kFewestRows = 128;

/// One product in one way, with its operands and the best times so far.
class Timed {
 public:
  Timed(const Product& product, const GemmWay& way, at::Device device)
      : library_(way.library) {
    const auto options = at::TensorOptions(way.dtype).device(device);
    const auto operand = [&](std::int64_t rows, std::int64_t columns) {
      return device.is_cpu() ? at::ones({rows, columns}, options)
                             : random_operand(rows, columns, way.dtype, device);
    };
    x_ = operand(product.m, product.k);
    w_ = operand(product.k, product.n);
    y_ = at::empty({product.m, product.n}, options);
    dx_ = at::empty_like(x_);
    dw_ = at::empty_like(w_);
    best_.fill(std::numeric_limits<double>::infinity());
  }

  void run() {
    time(
        0,
        [&] { mm_into(y_, x_, w_, false, library_); },
        y_);
    time(
        1,
        [&] { mm_into(dx_, y_, w_.t(), false, library_); },
        dx_);
    time(
        2,
        [&] { mm_into(dw_, x_.t(), y_, false, library_); },
        dw_);
  }

  double seconds() const { return best_[0] + best_[1] + best_[2]; }
  double least_seconds() const { return *std::ranges::min_element(best_); }

 private:
  template <class F>
  void time(std::size_t which, F multiply, const at::Tensor& result) {
    const auto start = Clock::now();
    multiply();
    if (result.is_cuda()) result[0][0].item<double>();  // waits for the device
    const Seconds taken = Clock::now() - start;
    best_[which] = std::min(best_[which], taken.count());
  }

  GemmLibrary library_;
  at::Tensor x_, w_, y_, dx_, dw_;
  std::array<double, 3> best_;
};

/// The rate of one way, of which `timed` has all products.
GemmRate rate_of(const std::vector<Timed>& timed,
                 const std::vector<Product>& products) {
  GemmRate rate;
  double flops = 0, seconds = 0;
  for (std::size_t i = 0; i < products.size(); ++i) {
    flops += products[i].flops();
    seconds += timed[i].seconds();
    rate.peak =
        std::max(rate.peak, products[i].flops() / 3 / timed[i].least_seconds());
  }
  rate.overall = flops / seconds;
  return rate;
}

}  // namespace

at::Tensor random_operand(std::int64_t rows,
                          std::int64_t columns,
                          at::ScalarType dtype,
                          at::Device device) {
  // A prime: rows are not repetitions of each other.
  constexpr std::int64_t kDrawn = 262'147;
  const CounterRandom random(0, Purpose::measurement);
  const std::int64_t count = rows * columns;
  const at::Tensor drawn = at::empty({std::min(count, kDrawn)}, at::kFloat);
  float* const values = drawn.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < drawn.numel(); ++i) {
    values[i] = static_cast<float>(random.normal(i));
  }
  const at::Tensor moved = drawn.to(device, dtype);
  const at::Tensor all = at::empty({count}, moved.options());
  for (std::int64_t begin = 0; begin < count; begin += kDrawn) {
    const std::int64_t part = std::min(kDrawn, count - begin);
    all.narrow(0, begin, part).copy_(moved.narrow(0, 0, part));
  }
  return all.view({rows, columns});
}

std::vector<GemmRate> measure_gemm_rates(const std::vector<Product>& products,
                                         const std::vector<GemmWay>& ways,
                                         at::Device device,
                                         const RateBudget& budget) {
  at::NoGradGuard no_grad;
  std::vector<std::vector<Timed>> timed(ways.size());
  for (std::size_t w = 0; w < ways.size(); ++w) {
    for (const Product& product : products) {
      timed[w].emplace_back(product, ways[w], device);
    }
  }
  const auto start = Clock::now();
  for (int round = 0; round < budget.rounds; ++round) {
    if (round >= 2 && Clock::now() - start > budget.time) break;
    if (round > 0) std::this_thread::sleep_for(budget.pause);
    for (std::size_t i = 0; i < products.size(); ++i) {
      for (auto& way : timed) way[i].run();
    }
  }
  std::vector<GemmRate> rates;
  for (const auto& way : timed) rates.push_back(rate_of(way, products));
  return rates;
}

std::vector<Product> with_fewer_rows(std::vector<Product> products,
                                     double flops) {
  double all = 0;
  for (const Product& product : products) all += product.flops();
  const double share = std::min(1.0, flops / all);
  for (Product& product : products) {
    const auto rows =
        static_cast<std::int64_t>(share * static_cast<double>(product.m));
    product.m = std::clamp(rows, std::min(kFewestRows, product.m), product.m);
  }
  return products;
}

}  // namespace mumoe

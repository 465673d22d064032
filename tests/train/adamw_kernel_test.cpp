#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "tests/fakes/cuda_emulation.h"
// After the emulation: the GPU's code, compiled by g++.
#include "train/kernels/adamw.cu"
#include "train/kernels/adamw.h"

namespace mumoe::train {
namespace {

constexpr std::int64_t kSizes[] = {0, 1, 7, 31, 32, 33, 2047, 2048, 5000};

std::vector<Isa> available_isas() {
  std::vector<Isa> result;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (isa <= best_isa()) result.push_back(isa);
  }
  return result;
}

template <class T>
std::vector<T> random_values(std::uint64_t stream, std::int64_t n) {
  const CounterRandom random(11, Purpose::test, stream);
  std::vector<T> values(n);
  for (std::int64_t i = 0; i < n; ++i) {
    values[i] = static_cast<T>(random.normal(i));
  }
  return values;
}

AdamWScalars scalars_at(int step) {
  return {.lr = 1e-2 / step,
          .beta1 = 0.9,
          .beta2 = 0.95,
          .eps = 1e-8,
          .weight_decay = 0.1,
          .bias_correction1 = 1 - std::pow(0.9, step),
          .bias_correction2 = 1 - std::pow(0.95, step),
          .grad_scale = 0.7};
}

template <class T>
struct State {
  std::vector<T> master, first, second;
  std::vector<Bf16> compute;

  explicit State(std::int64_t n)
      : master(random_values<T>(1, n)), first(n), second(n), compute(n) {}
};

template <class T>
void expect_equal_bits(const std::vector<T>& a, const std::vector<T>& b) {
  ASSERT_EQ(a.size(), b.size());
  if (a.empty()) return;
  ASSERT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(T)), 0);
}

template <class T>
void expect_equal_bits(const State<T>& a, const State<T>& b) {
  expect_equal_bits(a.master, b.master);
  expect_equal_bits(a.first, b.first);
  expect_equal_bits(a.second, b.second);
  expect_equal_bits(a.compute, b.compute);
}

constexpr int kSteps = 5;

template <class T>
State<T> updated(Isa isa, std::int64_t n) {
  State<T> state(n);
  for (int step = 1; step <= kSteps; ++step) {
    const auto grad = random_values<T>(100 + step, n);
    adamw_kernels.row<T>(isa).update(nullptr,
                                     adamw_constants<T>(scalars_at(step)),
                                     state.master.data(),
                                     grad.data(),
                                     state.first.data(),
                                     state.second.data(),
                                     state.compute.data(),
                                     n);
  }
  return state;
}

/// torch.optim.AdamW, as its documentation writes it.
void reference_update(const AdamWScalars& s,
                      double& p,
                      double g,
                      double& m,
                      double& v) {
  g *= s.grad_scale;
  p -= s.lr * s.weight_decay * p;
  m = s.beta1 * m + (1 - s.beta1) * g;
  v = s.beta2 * v + (1 - s.beta2) * g * g;
  p -= s.lr / s.bias_correction1 * m /
       (std::sqrt(v) / std::sqrt(s.bias_correction2) + s.eps);
}

template <class T>
void expect_reference(double tolerance) {
  for (const std::int64_t n : kSizes) {
    const State<T> state = updated<T>(best_isa(), n);
    const auto start = random_values<T>(1, n);
    for (std::int64_t i = 0; i < n; ++i) {
      double p = start[i], m = 0, v = 0;
      for (int step = 1; step <= kSteps; ++step) {
        const CounterRandom random(11, Purpose::test, 100 + step);
        reference_update(scalars_at(step),
                         p,
                         static_cast<T>(random.normal(i)),
                         m,
                         v);
      }
      ASSERT_NEAR(state.master[i], p, tolerance);
      ASSERT_NEAR(state.first[i], m, tolerance);
      ASSERT_NEAR(state.second[i], v, tolerance);
      ASSERT_EQ(state.compute[i].bits,
                kernels::to_bf16(static_cast<float>(state.master[i])).bits);
    }
  }
}

TEST(AdamWKernel, EqualsTheEquationsInDouble) {
  expect_reference<double>(1e-14);
}
TEST(AdamWKernel, EqualsTheEquationsInFloat) {
  expect_reference<float>(1e-6);
}

template <class T>
void expect_isas_agree() {
  for (const std::int64_t n : kSizes) {
    const State<T> expected = updated<T>(Isa::portable, n);
    for (const Isa isa : available_isas()) {
      expect_equal_bits(updated<T>(isa, n), expected);
    }
  }
}

TEST(AdamWKernel, InstructionSetsAgreeToTheBit) {
  expect_isas_agree<float>();
  expect_isas_agree<double>();
}

TEST(AdamWKernel, SplittingChangesNothing) {
  const std::int64_t n = 5000, cut = 1237;
  State<float> state(n);
  for (int step = 1; step <= kSteps; ++step) {
    const auto grad = random_values<float>(100 + step, n);
    for (const auto& [begin, end] : {std::pair{cut, n}, std::pair{0l, cut}}) {
      adamw_kernels.row<float>(best_isa())
          .update(nullptr,
                  adamw_constants<float>(scalars_at(step)),
                  state.master.data() + begin,
                  grad.data() + begin,
                  state.first.data() + begin,
                  state.second.data() + begin,
                  state.compute.data() + begin,
                  end - begin);
    }
  }
  expect_equal_bits(state, updated<float>(best_isa(), n));
}

TEST(AdamWKernel, ZeroStaysZeroAndNanShows) {
  float p[2] = {0, 1}, m[2] = {}, v[2] = {};
  const float g[2] = {0, std::numeric_limits<float>::quiet_NaN()};
  Bf16 compute[2];
  adamw_kernels.row<float>(best_isa())
      .update(nullptr,
              adamw_constants<float>(scalars_at(1)),
              p,
              g,
              m,
              v,
              compute,
              2);
  EXPECT_EQ(p[0], 0);
  EXPECT_EQ(compute[0].bits, 0);
  EXPECT_TRUE(std::isnan(p[1]));
  EXPECT_TRUE(std::isnan(kernels::to_float(compute[1])));
}

template <class T>
void expect_emulated_gpu_agrees(double tolerance) {
  const AdamWKernels<T>& gpu = cuda::adamw_row;
  for (const std::int64_t n : kSizes) {
    State<T> state(n);
    for (int step = 1; step <= kSteps; ++step) {
      const auto grad = random_values<T>(100 + step, n);
      gpu.update(nullptr,
                 adamw_constants<T>(scalars_at(step)),
                 state.master.data(),
                 grad.data(),
                 state.first.data(),
                 state.second.data(),
                 state.compute.data(),
                 n);
    }
    const State<T> expected = updated<T>(best_isa(), n);
    for (std::int64_t i = 0; i < n; ++i) {
      ASSERT_NEAR(state.master[i], expected.master[i], tolerance);
      ASSERT_NEAR(state.second[i], expected.second[i], tolerance);
      ASSERT_NEAR(kernels::to_float(state.compute[i]),
                  state.master[i],
                  std::abs(state.master[i]) / 256);
    }
  }
}

TEST(AdamWCudaEmulated, EqualsTheCpu) {
  expect_emulated_gpu_agrees<float>(1e-6);
  expect_emulated_gpu_agrees<double>(1e-14);
}

// As the parts of a bucket lie that ranks own: gradients and weights begin
// anywhere, masters and moments do not.
template <class T>
void expect_any_alignment() {
  const AdamWKernels<T>& gpu = cuda::adamw_row;
  const std::int64_t n = 1003;
  const auto constants = adamw_constants<T>(scalars_at(1));
  for (const std::int64_t shift : {0, 1, 2, 3, 4, 5}) {
    auto grad = random_values<T>(100, n);
    State<T> plain(n), moved(n);
    std::vector<Bf16> compute(n + shift, Bf16{0x1234});
    gpu.update(nullptr,
               constants,
               plain.master.data(),
               grad.data(),
               plain.first.data(),
               plain.second.data(),
               plain.compute.data(),
               n);
    grad.insert(grad.begin(), shift, T(0));
    gpu.update(nullptr,
               constants,
               moved.master.data(),
               grad.data() + shift,
               moved.first.data(),
               moved.second.data(),
               compute.data() + shift,
               n);
    for (std::int64_t i = 0; i < shift; ++i) {
      ASSERT_EQ(compute[i].bits, 0x1234) << shift;
    }
    std::copy(compute.begin() + shift, compute.end(), moved.compute.begin());
    expect_equal_bits(moved, plain);
    gpu.update(nullptr,
               constants,
               moved.master.data(),
               grad.data() + shift,
               moved.first.data(),
               moved.second.data(),
               nullptr,
               n);
  }
}

TEST(AdamWCudaEmulated, AnyAlignment) {
  expect_any_alignment<float>();
  expect_any_alignment<double>();
}

}  // namespace
}  // namespace mumoe::train

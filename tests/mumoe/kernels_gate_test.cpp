#include "mumoe/kernels/gate.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "tests/mumoe/kernels_gate_oracle.h"

namespace mumoe::testing {
namespace {

using kernels::Bf16;
using kernels::RowNorm;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr RowNorm kNorms[] = {RowNorm::layer, RowNorm::none};
constexpr std::int64_t kSizes[] =
    {1, 2, 3, 7, 8, 15, 16, 17, 31, 64, 100, 255, 256, 1000, 1024, 4096};

std::vector<Isa> available_isas() {
  std::vector<Isa> result;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (isa <= best_isa()) result.push_back(isa);
  }
  return result;
}

template <class E>
std::vector<E> forward(const std::vector<E>& logits,
                       std::int64_t experts,
                       RowNorm norm,
                       Isa isa = best_isa()) {
  std::vector<E> a(logits.size());
  kernels::gate_kernels.row<E>(isa).forward(nullptr,
                                            logits.data(),
                                            a.data(),
                                            logits.size() / experts,
                                            experts,
                                            norm);
  return a;
}

template <class E>
std::vector<E> backward(const std::vector<E>& logits,
                        const std::vector<E>& a,
                        const std::vector<E>& grad,
                        std::int64_t experts,
                        RowNorm norm,
                        Isa isa = best_isa()) {
  std::vector<E> result(logits.size());
  kernels::gate_kernels.row<E>(isa).backward(nullptr,
                                             logits.data(),
                                             a.data(),
                                             grad.data(),
                                             result.data(),
                                             logits.size() / experts,
                                             experts,
                                             norm);
  return result;
}

/// Rows of every size: normal at several scales, heavy ties, constants.
void for_each_row(const std::function<void(const Values&)>& f) {
  std::uint64_t stream = 0;
  for (const std::int64_t size : kSizes) {
    for (const double scale : {1e-3, 1.0, 10.0, 1e4}) {
      Values row = random_row(++stream, size, scale);
      f(row);
      for (double& v : row) v = scale * std::round(v / scale);
      f(row);
      f(Values(size, scale));
    }
  }
}

template <class E>
void expect_oracle(double tolerance) {
  for_each_row([&](const Values& row) {
    const auto logits = stored<E>(row);
    const std::int64_t experts = row.size();
    for (const RowNorm norm : kNorms) {
      const Values expected = gate_by_sorting(loaded(logits), norm);
      const Values a = loaded(forward(logits, experts, norm));
      double sum = 0;
      for (std::int64_t n = 0; n < experts; ++n) {
        ASSERT_NEAR(a[n], expected[n], tolerance) << n << " of " << experts;
        ASSERT_GE(a[n], 0);
        if (expected[n] == 0) {
          ASSERT_LE(a[n], tolerance * tolerance);
        }
        sum += a[n];
      }
      ASSERT_NEAR(sum, 1, 4 * tolerance) << experts;
    }
  });
}

TEST(GateKernel, EqualsSortingInDouble) {
  expect_oracle<double>(1e-12);
}
TEST(GateKernel, EqualsSortingInFloat) {
  expect_oracle<float>(2e-6);
}

TEST(GateKernel, PublishedValue) {
  const Values a = loaded(forward<double>({-2, 0, 0.5}, 3, RowNorm::none));
  EXPECT_EQ(a[0], 0);
  EXPECT_NEAR(a[1], 0.3260, 5e-5);
  EXPECT_NEAR(a[2], 0.6740, 5e-5);
}

TEST(GateKernel, SupportOfNormalLogits) {
  // 256 normal logits have a mean support of 14.2 (5.5 %).
  const std::int64_t rows = 2000;
  const auto a =
      forward(stored<float>(random_row(1, rows * 256, 1)), 256, RowNorm::layer);
  const auto support = a.size() - std::count(a.begin(), a.end(), 0.0f);
  EXPECT_NEAR(static_cast<double>(support) / rows, 14.2, 0.3);
}

TEST(GateKernel, EqualLogitsShareEqually) {
  for (const std::int64_t experts : kSizes) {
    for (const double value : {0.0, 1.0, -1e4, 3e7}) {
      for (const RowNorm norm : kNorms) {
        const auto logits = stored<float>(Values(experts, value));
        const auto a = forward(logits, experts, norm);
        for (const float v : a) {
          ASSERT_NEAR(v * experts, 1, 1e-6) << experts << " " << value;
        }
        // s is constant: dℓ = (g − mean g) / √N, times 1/√eps for the norm.
        const Values g = random_row(2, experts, 1);
        double mean = 0;
        for (const double v : g) mean += v / experts;
        const double gain = (norm == RowNorm::layer ? 1 / std::sqrt(1e-5) : 1) /
                            std::sqrt(experts);
        const auto grad = backward(logits, a, stored<float>(g), experts, norm);
        for (std::int64_t n = 0; n < experts; ++n) {
          ASSERT_NEAR(grad[n] / gain, g[n] - mean, 1e-5);
        }
      }
    }
  }
}

TEST(GateKernel, NotFiniteRowsBecomeNanAndEnd) {
  for (const std::int64_t experts : kSizes) {
    for (const RowNorm norm : kNorms) {
      for (const double bad : {kNan, kInfinity, -kInfinity}) {
        Values rows = random_row(3, 3 * experts, 1);
        rows[experts + experts / 2] = bad;
        const bool masked =
            bad == -kInfinity && norm == RowNorm::none && experts > 1;
        for (const Isa isa : available_isas()) {
          const auto a = forward(stored<float>(rows), experts, norm, isa);
          for (std::int64_t n = 0; n < experts; ++n) {
            ASSERT_FALSE(std::isnan(a[n]));
            ASSERT_EQ(std::isnan(a[experts + n]), !masked) << experts;
            ASSERT_FALSE(std::isnan(a[2 * experts + n]));
          }
          if (masked) {
            ASSERT_EQ(a[experts + experts / 2], 0);
          }
        }
      }
    }
  }
  // The variance overflows: no silent row of equal coefficients.
  const auto a = forward<float>({1e30f, -1e30f, 0}, 3, RowNorm::layer);
  EXPECT_TRUE(std::isnan(a[0]));
}

TEST(GateKernel, MaskedExpertsEqualAShorterRow) {
  Values row = random_row(4, 60, 1);
  const Values shorter = entmax_by_sorting(row);
  row.insert(row.end(), 7, -kInfinity);
  const auto a = forward(row, row.size(), RowNorm::none);
  for (std::size_t n = 0; n < row.size(); ++n) {
    EXPECT_NEAR(a[n], n < shorter.size() ? shorter[n] : 0, 1e-14);
  }
}

TEST(GateKernel, GradientEqualsFiniteDifferences) {
  for (const std::int64_t experts : {1, 2, 5, 16, 33, 100}) {
    for (const double scale : {0.1, 1.0, 3.0}) {
      for (const RowNorm norm : kNorms) {
        const Values row = random_row(experts, experts, scale);
        const Values w = random_row(experts + 1000, experts, 1);
        const auto a = forward(row, experts, norm);
        const auto grad = backward(row, a, w, experts, norm);
        for (std::int64_t n = 0; n < experts; ++n) {
          const double step = 1e-6;
          Values up = row, down = row;
          up[n] += step;
          down[n] -= step;
          const double slope =
              (weighted(up, w, norm) - weighted(down, w, norm)) / (2 * step);
          ASSERT_NEAR(grad[n], slope, 2e-6) << experts << " " << scale;
        }
      }
    }
  }
}

TEST(GateKernel, GradientOutsideTheSupportIsNotRead) {
  for (const RowNorm norm : kNorms) {
    const Values row = random_row(5, 64, 2);
    const auto a = forward(row, 64, norm);
    Values g = random_row(6, 64, 1);
    const auto expected = backward(row, a, g, 64, norm);
    for (int n = 0; n < 64; ++n) {
      if (a[n] == 0) g[n] = kNan;
    }
    EXPECT_EQ(backward(row, a, g, 64, norm), expected);
  }
}

template <class E>
void expect_equal_bits(const std::vector<E>& a, const std::vector<E>& b) {
  ASSERT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(E)), 0);
}

template <class E>
void expect_isas_agree() {
  for_each_row([&](const Values& row) {
    const auto logits = stored<E>(row);
    const auto g = stored<E>(random_row(8, row.size(), 1));
    for (const RowNorm norm : kNorms) {
      const std::int64_t experts = row.size();
      const auto a = forward(logits, experts, norm, Isa::portable);
      const auto grad = backward(logits, a, g, experts, norm, Isa::portable);
      for (const Isa isa : available_isas()) {
        expect_equal_bits(forward(logits, experts, norm, isa), a);
        expect_equal_bits(backward(logits, a, g, experts, norm, isa), grad);
      }
    }
  });
}

TEST(GateKernel, InstructionSetsAgreeToTheBit) {
  expect_isas_agree<float>();
  expect_isas_agree<double>();
  expect_isas_agree<Bf16>();
}

TEST(GateKernel, Bf16IsFloatRounded) {
  for (const std::int64_t experts : kSizes) {
    const auto logits = stored<Bf16>(random_row(9, 3 * experts, 2));
    const auto g = stored<Bf16>(random_row(10, 3 * experts, 1));
    const auto wide = stored<float>(loaded(logits));
    for (const RowNorm norm : kNorms) {
      const auto a = forward(logits, experts, norm);
      expect_equal_bits(a, stored<Bf16>(loaded(forward(wide, experts, norm))));
      expect_equal_bits(backward(logits, a, g, experts, norm),
                        stored<Bf16>(loaded(backward(wide,
                                                     stored<float>(loaded(a)),
                                                     stored<float>(loaded(g)),
                                                     experts,
                                                     norm))));
    }
  }
}

// Forward takes several rows at a time.
TEST(GateKernel, RowsDoNotKnowTheirNeighbours) {
  const std::int64_t rows = 11;
  for (const std::int64_t experts : kSizes) {
    const auto logits = stored<float>(random_row(11, rows * experts, 2));
    for (const RowNorm norm : kNorms) {
      const auto all = forward(logits, experts, norm);
      for (std::int64_t t = 0; t < rows; ++t) {
        const auto begin = t * experts;
        const std::vector<float> row(&logits[begin], &logits[begin] + experts);
        const std::vector<float> a(&all[begin], &all[begin] + experts);
        expect_equal_bits(forward(row, experts, norm), a);
      }
    }
  }
}

TEST(Bf16, RoundsToNearestEvenAndKeepsNan) {
  using kernels::to_bf16;
  const auto bits = [](float v) { return to_bf16(v).bits; };
  EXPECT_EQ(bits(1.0f), 0x3f80);
  EXPECT_EQ(bits(1.0f + 0x1p-8f), 0x3f80);             // tie, down to even
  EXPECT_EQ(bits(1.0f + 3 * 0x1p-8f), 0x3f82);         // tie, up to even
  EXPECT_EQ(bits(1.0f + 0x1p-8f + 0x1p-20f), 0x3f81);  // above the tie
  EXPECT_EQ(bits(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(bits(-kInfinity), 0xff80);
  EXPECT_TRUE(std::isnan(kernels::to_float(to_bf16(kNan))));
  // A NaN whose payload is all in the lower half.
  const std::uint32_t low_payload = 0x7f800001u;
  float nan;
  std::memcpy(&nan, &low_payload, sizeof(nan));
  EXPECT_TRUE(std::isnan(kernels::to_float(to_bf16(nan))));
}

}  // namespace
}  // namespace mumoe::testing

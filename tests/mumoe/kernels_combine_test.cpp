// The CPU's kernels between the matrix products: every instruction set of this
// machine against loops in fp64.
#include "mumoe/kernels/combine.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "tests/mumoe/available_isas.h"
#include "tests/mumoe/combine_cases.h"

namespace mumoe::testing {
namespace {

using kernels::Bf16;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kWidths[] = {1, 7, 16, 23, 199, 556};

/// Of the largest value; sums are in the compute type and rounded once: of bf16
/// by up to 1/256.
template <class E>
constexpr double kClose = 1e-13;
template <>
inline constexpr double kClose<float> = 3e-6;
template <>
inline constexpr double kClose<Bf16> = 1.01 / 256;

/// An array with room beside it that nobody may write.
template <class E>
class Guarded {
 public:
  static constexpr unsigned char kFill = 0xa5;

  Guarded() = default;
  explicit Guarded(std::size_t size)
      : size_(size), bytes_((size + 2 * kGuard) * sizeof(E), kFill) {}
  explicit Guarded(const Values& values) : Guarded(values.size()) {
    const auto all = stored<E>(values);
    if (!all.empty()) std::memcpy(data(), all.data(), size_ * sizeof(E));
  }

  /// Null for an empty array.
  E* data() {
    return size_ == 0 ? nullptr : reinterpret_cast<E*>(bytes_.data()) + kGuard;
  }
  std::vector<E> values() const {
    const auto* first = reinterpret_cast<const E*>(bytes_.data()) + kGuard;
    return size_ == 0 ? std::vector<E>{} : std::vector<E>(first, first + size_);
  }
  /// Whether everything but the elements `first` to `last` − 1 is as it was.
  bool untouched_outside(std::size_t first, std::size_t last) const {
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      const bool inside =
          i >= (kGuard + first) * sizeof(E) && i < (kGuard + last) * sizeof(E);
      if (!inside && bytes_[i] != kFill) return false;
    }
    return true;
  }
  bool operator==(const Guarded&) const = default;

 private:
  static constexpr std::size_t kGuard = 33;
  std::size_t size_ = 0;
  std::vector<unsigned char> bytes_;
};

/// The arrays of one case, inputs and outputs of both directions.
template <class E>
class Combination {
 public:
  Combination(const CombineCase& c, const CombineInputs& in)
      : case_(c),
        projection_(in.projection),
        bias_(in.bias),
        grad_result_(in.grad_result) {
    const CombineShape& s = c.shape;
    forward_.projection = backward_.projection = projection_.data();
    forward_.bias = backward_.bias = bias_.data();
    backward_.grad_result = grad_result_.data();
    forward_.result = output("c", s.result());
    backward_.result = output("c of backward", s.result());
    backward_.grad_projection = output("dq", s.projection());
    for (int e = 0; e < s.levels; ++e) {
      a_[e] = Guarded<E>(in.coefficients[e]);
      u_[e] = Guarded<E>(in.expert[e]);
      m_[e] = Guarded<E>(in.mixed[e]);
      forward_.coefficients[e] = backward_.coefficients[e] = a_[e].data();
      forward_.expert[e] = backward_.expert[e] = u_[e].data();
      forward_.mixed[e] = backward_.mixed[e] = m_[e].data();
      backward_.grad_mixed[e] = output("dm", s.mixed[e]);
      if (!c.gradients) continue;
      backward_.grad_coefficients[e] = output("da", s.experts[e]);
    }
  }
  Combination(const Combination&) = delete;
  Combination& operator=(const Combination&) = delete;

  void run(Isa isa, std::int64_t first, std::int64_t last) {
    kernels::combine_kernels.row<E>(isa).forward(nullptr,
                                                 case_.shape,
                                                 forward_,
                                                 first,
                                                 last);
    kernels::combine_kernels.row<E>(isa).backward(nullptr,
                                                  case_.shape,
                                                  backward_,
                                                  first,
                                                  last);
  }

  struct Output {
    const char* name;
    std::int64_t width;  ///< elements of a token
    Guarded<E> values;
  };
  /// c, c of backward, dq, and of each level dm and da (if wanted).
  std::vector<Output>& outputs() { return outputs_; }
  /// What the oracle has for them; da, after a run, from the dm that was
  /// stored.
  std::vector<Values> expected(const CombineOutputs& oracle) const {
    std::vector<Values> all{oracle.result,
                            oracle.result,
                            oracle.grad_projection};
    for (int e = 0; e < case_.shape.levels; ++e) {
      all.push_back(oracle.grad_mixed[e]);
      if (!case_.gradients) continue;
      all.push_back(grad_coefficients(e, outputs_[all.size() - 1].values));
    }
    return all;
  }
  kernels::CombineForward<E>& forward() { return forward_; }
  kernels::CombineBackward<E>& backward() { return backward_; }

 private:
  /// dm_e · U_e[n] where a_e is not zero.
  Values grad_coefficients(int e, const Guarded<E>& grad_mixed) const {
    const std::int64_t experts = case_.shape.experts[e];
    const std::int64_t width = case_.shape.mixed[e];
    const auto dm = grad_mixed.values(), u = u_[e].values();
    const auto a = a_[e].values();
    Values da(case_.rows * experts);
    for (std::size_t i = 0; i < da.size(); ++i) {
      if (kernels::load_value(a[i]) == 0) continue;
      const auto t = static_cast<std::int64_t>(i) / experts;
      const auto n = static_cast<std::int64_t>(i) % experts;
      for (std::int64_t r = 0; r < width; ++r) {
        da[i] += static_cast<double>(kernels::load_value(dm[t * width + r])) *
                 static_cast<double>(kernels::load_value(u[n * width + r]));
      }
    }
    return da;
  }
  E* output(const char* name, std::int64_t width) {
    outputs_.push_back({name, width, Guarded<E>(case_.rows * width)});
    return outputs_.back().values.data();
  }

  CombineCase case_;
  Guarded<E> a_[kMaxLevels], u_[kMaxLevels], m_[kMaxLevels];
  Guarded<E> projection_, bias_, grad_result_;
  std::vector<Output> outputs_;
  kernels::CombineForward<E> forward_;
  kernels::CombineBackward<E> backward_;
};

template <class E>
class CombineKernel : public ::testing::Test {};
using Elements = ::testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(CombineKernel, Elements);

TYPED_TEST(CombineKernel, EqualsTheOracle) {
  using E = TypeParam;
  for (const std::int64_t width : kWidths) {
    for (const CombineCase& c : every_kind(width)) {
      const CombineInputs in = random_inputs<E>(c);
      const CombineOutputs oracle = combine_oracle(c.shape, c.rows, in);
      for (const Isa isa : available_isas()) {
        Combination<E> run(c, in);
        run.run(isa, 0, c.rows);
        const auto expected = run.expected(oracle);
        for (std::size_t i = 0; i < expected.size(); ++i) {
          auto& [name, columns, values] = run.outputs()[i];
          expect_values(values.values(),
                        expected[i],
                        name,
                        fmt::format("{}, {}", name_of(c), to_string(isa)),
                        kClose<E>);
          ASSERT_TRUE(values.untouched_outside(0, c.rows * columns)) << name;
        }
        if (this->HasFatalFailure()) return;
      }
    }
  }
}

TYPED_TEST(CombineKernel, RowsDoNotDependOnHowTheyAreSharedOut) {
  using E = TypeParam;
  for (CombineCase c : every_kind(23)) {
    c.rows = 9;
    const CombineInputs in = random_inputs<E>(c);
    for (const Isa isa : available_isas()) {
      Combination<E> whole(c, in), parts(c, in), middle(c, in);
      whole.run(isa, 0, 9);
      parts.run(isa, 6, 9);
      parts.run(isa, 0, 1);
      parts.run(isa, 4, 4);
      parts.run(isa, 1, 6);
      middle.run(isa, 3, 5);
      for (std::size_t i = 0; i < whole.outputs().size(); ++i) {
        const auto& [name, width, values] = whole.outputs()[i];
        ASSERT_TRUE(parts.outputs()[i].values == values)
            << name << ", " << name_of(c);
        auto& part = middle.outputs()[i].values;
        ASSERT_TRUE(part.untouched_outside(3 * width, 5 * width)) << name;
        ASSERT_EQ(std::memcmp(part.data() + 3 * width,
                              whole.outputs()[i].values.data() + 3 * width,
                              2 * width * sizeof(E)),
                  0)
            << name;
      }
    }
  }
}

TYPED_TEST(CombineKernel, ExpertsThatAreNotActiveAreNotRead) {
  using E = TypeParam;
  for (CombineCase c : every_kind(23)) {
    c.given = 0;
    c.rows = 1;
    const CombineInputs in = random_inputs<E>(c);
    CombineInputs hidden = in;
    for (int e = 0; e < c.shape.levels; ++e) {
      for (std::size_t i = 0; i < hidden.expert[e].size(); ++i) {
        const std::size_t n = i / c.shape.mixed[e];
        if (in.coefficients[e][n] != 0) continue;
        hidden.expert[e][i] = kNan;
        hidden.coefficients[e][n] = n % 2 == 0 ? 0.0 : -0.0;
      }
    }
    for (const Isa isa : available_isas()) {
      Combination<E> expected(c, in), found(c, hidden);
      expected.run(isa, 0, 1);
      found.run(isa, 0, 1);
      for (std::size_t i = 0; i < found.outputs().size(); ++i) {
        ASSERT_TRUE(found.outputs()[i].values == expected.outputs()[i].values)
            << found.outputs()[i].name << ", " << name_of(c);
      }
    }
  }
}

TYPED_TEST(CombineKernel, NotANumberStaysInItsToken) {
  using E = TypeParam;
  for (CombineCase c : every_kind(23)) {
    c.given = 0;
    c.rows = 5;
    const CombineInputs in = random_inputs<E>(c);
    for (int e = 0; e < c.shape.levels; ++e) {
      CombineInputs bad = in;
      bad.coefficients[e][2 * c.shape.experts[e] + e] = kNan;
      for (const Isa isa : available_isas()) {
        Combination<E> before(c, in), after(c, bad);
        before.run(isa, 0, 5);
        after.run(isa, 0, 5);
        for (std::size_t i = 0; i < before.outputs().size(); ++i) {
          auto& [name, width, values] = after.outputs()[i];
          const auto right = before.outputs()[i].values.values();
          const auto found = values.values();
          for (std::int64_t k = 0; k < 5 * width; ++k) {
            const auto value = kernels::load_value(found[k]);
            if (k / width != 2) {
              ASSERT_EQ(value, kernels::load_value(right[k])) << name;
            } else if (i < 3) {  // c and dq
              ASSERT_TRUE(std::isnan(value)) << name << ", " << name_of(c);
            }
          }
        }
      }
    }
  }
}

TYPED_TEST(CombineKernel, NoActiveExpertIsZero) {
  using E = TypeParam;
  for (CombineCase c : every_kind(16)) {
    c.given = 0;
    c.active = 0;
    for (const Isa isa : available_isas()) {
      Combination<E> run(c, random_inputs<E>(c));
      run.run(isa, 0, c.rows);
      for (std::size_t i = 0; i < run.outputs().size(); ++i) {
        auto& [name, width, values] = run.outputs()[i];
        // Of one level, dm does not depend on it.
        if (c.shape.levels == 1 && std::strcmp(name, "dm") == 0) continue;
        for (const E& v : values.values()) {
          ASSERT_EQ(kernels::load_value(v), 0) << name << ", " << name_of(c);
        }
      }
    }
  }
}

TYPED_TEST(CombineKernel, GivenMixtureNeedsNoCoefficientsOrExperts) {
  using E = TypeParam;
  for (CombineCase c : every_kind(23)) {
    c.given = 0xf;
    c.gradients = false;
    const CombineInputs in = random_inputs<E>(c);
    for (const Isa isa : available_isas()) {
      Combination<E> with(c, in), without(c, in);
      for (int e = 0; e < c.shape.levels; ++e) {
        auto& f = without.forward();
        auto& b = without.backward();
        f.coefficients[e] = b.coefficients[e] = nullptr;
        f.expert[e] = b.expert[e] = nullptr;
      }
      with.run(isa, 0, c.rows);
      without.run(isa, 0, c.rows);
      for (std::size_t i = 0; i < with.outputs().size(); ++i) {
        ASSERT_TRUE(with.outputs()[i].values == without.outputs()[i].values);
      }
    }
  }
}

}  // namespace
}  // namespace mumoe::testing

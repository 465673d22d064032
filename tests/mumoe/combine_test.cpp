// The combination on tensors: threads share it out without changing a bit, and
// both ways to mix experts agree.
#include "mumoe/combine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tests/mumoe/random_layers.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using at::Tensor;
using testing::numbers;
using testing::relative_error;
using Tensors = std::vector<Tensor>;

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kDouble, at::kBFloat16};

/// Sets LibTorch's number of threads for a while.
class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) {
    at::set_num_threads(count);
  }
  ~Threads() { at::set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

/// A layer with operands of both directions.
struct Case {
  Factors u;
  Tensors a;
  Tensor projection, grad;

  Case(Form form,
       std::vector<std::int64_t> experts,
       std::vector<std::int64_t> ranks,
       at::ScalarType dtype) {
    const LayerShape shape{.form = form,
                           .inputs = 3,
                           .outputs = 3,
                           .experts = experts,
                           .ranks = std::move(ranks)};
    u = testing::converted(testing::random_factors(shape, 1), dtype);
    constexpr std::int64_t kTokens = 150;
    for (const Tensor& level : testing::random_gates(experts, kTokens, 50)) {
      a.push_back(level.to(dtype));
    }
    const auto sizes = combination_of(shape);
    projection = numbers({kTokens, sizes.projection()}, 60).to(dtype);
    grad = numbers({kTokens, sizes.result()}, 61).to(dtype);
  }

  /// Everything that the forward and the backward pass give.
  Tensors run(bool sparse, bool support_only, int threads) const {
    const Threads guard(threads);
    const SparseLevels levels(a.size(), sparse);
    constexpr auto kLibrary = GemmLibrary::mkl;
    Tensors all{combine(a, levels, u, projection, kLibrary)};
    const CombineGradients d = combine_backward(a,
                                                levels,
                                                u,
                                                projection,
                                                grad,
                                                support_only,
                                                /*coefficients_wanted=*/true,
                                                kLibrary);
    all.insert(all.end(), {d.result, d.projection});
    for (std::size_t e = 0; e < a.size(); ++e) {
      const Tensor du = at::ones_like(u.expert[e].flatten(1));
      const Tensor more = at::ones_like(du);
      expert_gradient_into(du, a[e], d.mixed[e], sparse, false, kLibrary);
      expert_gradient_into(more, a[e], d.mixed[e], sparse, true, kLibrary);
      all.insert(all.end(), {d.mixed[e], d.coefficients[e], du, more});
    }
    return all;
  }
};

std::vector<Case> cases(at::ScalarType dtype) {
  return {Case(Form::cp, {64}, {199}, dtype),
          Case(Form::cp, {33, 7}, {556}, dtype),
          Case(Form::tensor_ring, {64}, {4, 4, 23}, dtype),
          Case(Form::tensor_ring, {9, 8, 7}, {2, 3, 5, 4, 31}, dtype),
          Case(Form::tucker, {20, 16}, {6, 9, 5, 40}, dtype)};
}

TEST(Combine, ThreadsChangeNoBitOfSparseMixing) {
  for (const auto dtype : kTypes) {
    for (const Case& c : cases(dtype)) {
      const Tensors alone = c.run(true, true, 1);
      for (const int threads : {2, 3, 7}) {
        const Tensors shared = c.run(true, true, threads);
        for (std::size_t i = 0; i < alone.size(); ++i) {
          EXPECT_TRUE(at::equal(shared[i], alone[i]))
              << i << " with " << threads << " threads, " << to_string(c.u.form)
              << " " << dtype;
        }
      }
    }
  }
}

TEST(Combine, DenseAndSparseMixingAgree) {
  for (const auto dtype : kTypes) {
    const double close = dtype == at::kDouble  ? 1e-13
                         : dtype == at::kFloat ? 2e-6
                                               : 0.01;
    for (const Case& c : cases(dtype)) {
      const Tensors dense = c.run(false, true, 1);
      const Tensors whole = c.run(true, false, 1);
      const Tensors support = c.run(true, true, 1);
      for (std::size_t i = 0; i < dense.size(); ++i) {
        EXPECT_LT(relative_error(whole[i], dense[i]), close)
            << i << " " << to_string(c.u.form) << " " << dtype;
        // c, c, dq, and dm, da, dU, dU + 1 of every level.
        const bool coefficients = i >= 3 && i % 4 == 0;
        const Tensor expected =
            coefficients ? dense[i] * (c.a[(i - 3) / 4] != 0) : dense[i];
        EXPECT_LT(relative_error(support[i], expected), close) << i;
        if (!coefficients) continue;
        EXPECT_TRUE((support[i].masked_select(c.a[(i - 3) / 4] == 0) == 0)
                        .all()
                        .item<bool>());
      }
    }
  }
}

TEST(Combine, AddingIsStoringAndAdding) {
  for (const bool sparse : {false, true}) {
    for (const Case& c : cases(at::kDouble)) {
      const Tensors all = c.run(sparse, true, 2);
      for (std::size_t i = 5; i + 1 < all.size(); i += 4) {
        EXPECT_LT(relative_error(all[i + 1], all[i] + 1), 1e-13);
      }
    }
  }
}

}  // namespace
}  // namespace mumoe

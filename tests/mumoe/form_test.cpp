#include "mumoe/form.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"

namespace mumoe {
namespace {

using Sizes = std::vector<std::int64_t>;

// ---- Exact linear algebra modulo a prime

constexpr std::int64_t kPrime = 2147483647;

struct Matrix {
  Matrix(std::int64_t r, std::int64_t c) : rows(r), cols(c), v(r * c) {}
  std::int64_t& at(std::int64_t i, std::int64_t j) { return v[i * cols + j]; }
  std::int64_t at(std::int64_t i, std::int64_t j) const {
    return v[i * cols + j];
  }
  std::int64_t rows, cols;
  Sizes v;
};

/// A number in [low, high), as likely to be large in the first case as in the
/// last.
std::int64_t any(std::int64_t low, std::int64_t high) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange(low, high));
}

Matrix random_matrix(std::int64_t rows, std::int64_t cols) {
  Matrix m(rows, cols);
  for (auto& value : m.v) value = any(1, kPrime);
  return m;
}

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix c(a.rows, b.cols);
  for (std::int64_t i = 0; i < a.rows; ++i)
    for (std::int64_t k = 0; k < a.cols; ++k)
      for (std::int64_t j = 0; j < b.cols; ++j)
        c.at(i, j) = (c.at(i, j) + a.at(i, k) * b.at(k, j)) % kPrime;
  return c;
}

std::int64_t inverse(std::int64_t a) {  // a^(p-2), Fermat
  std::int64_t result = 1;
  for (std::int64_t e = kPrime - 2; e > 0; e /= 2, a = a * a % kPrime)
    if (e % 2 == 1) result = result * a % kPrime;
  return result;
}

std::int64_t rank(Matrix m) {
  std::int64_t rank = 0;
  for (std::int64_t c = 0; c < m.cols && rank < m.rows; ++c) {
    std::int64_t pivot = rank;
    while (pivot < m.rows && m.at(pivot, c) == 0) ++pivot;
    if (pivot == m.rows) continue;
    for (std::int64_t j = 0; j < m.cols; ++j)
      std::swap(m.at(pivot, j), m.at(rank, j));
    const std::int64_t scale = inverse(m.at(rank, c));
    for (std::int64_t i = rank + 1; i < m.rows; ++i) {
      const std::int64_t factor = m.at(i, c) * scale % kPrime;
      for (std::int64_t j = c; j < m.cols; ++j)
        m.at(i, j) = (m.at(i, j) + (kPrime - factor) * m.at(rank, j)) % kPrime;
    }
    ++rank;
  }
  return rank;
}

/// One expert's matrix [I, O] from random factors, as the form defines it.
Matrix random_expert(const LayerShape& s) {
  const auto& r = s.ranks;
  const std::size_t levels = s.experts.size();
  if (s.form == Form::cp) {
    Matrix inputs = random_matrix(s.inputs, r[0]);
    for (std::size_t e = 0; e < levels; ++e) {
      const Matrix u = random_matrix(1, r[0]);
      for (std::int64_t i = 0; i < s.inputs; ++i)
        for (std::int64_t k = 0; k < r[0]; ++k)
          inputs.at(i, k) = inputs.at(i, k) * u.at(0, k) % kPrime;
    }
    return product(inputs, random_matrix(r[0], s.outputs));
  }
  if (s.form == Form::tucker) {
    // Core slices, each weighed by a product of one number a level.
    Matrix mixed(r[levels], r[levels + 1]);
    std::int64_t slices = 1;
    for (std::size_t e = 0; e < levels; ++e) slices *= r[e];
    for (std::int64_t n = 0; n < slices; ++n) {
      const Matrix slice = random_matrix(mixed.rows, mixed.cols);
      for (std::size_t k = 0; k < slice.v.size(); ++k)
        mixed.v[k] = (mixed.v[k] + (n + 1) * slice.v[k]) % kPrime;
    }
    return product(product(random_matrix(s.inputs, mixed.rows), mixed),
                   random_matrix(mixed.cols, s.outputs));
  }
  Matrix chain = random_matrix(r[0], r[1]);
  for (std::size_t e = 1; e < levels; ++e)
    chain = product(chain, random_matrix(r[e], r[e + 1]));
  Matrix sum(s.inputs, s.outputs);
  for (std::int64_t k = 0; k < r[levels + 1]; ++k) {
    const Matrix term = product(product(random_matrix(s.outputs, r[0]), chain),
                                random_matrix(r[levels], s.inputs));  // [O, I]
    for (std::int64_t i = 0; i < s.inputs; ++i)
      for (std::int64_t o = 0; o < s.outputs; ++o)
        sum.at(i, o) = (sum.at(i, o) + term.at(o, i)) % kPrime;
  }
  return sum;
}

// ---- Tests

// The largest possible rank is the rank of random factors, but for one case in
// about 2^31.
RC_GTEST_PROP(Form, ExpertMatrixRankIsThatOfRandomFactors, ()) {
  LayerShape s;
  s.form = *rc::gen::element(Form::cp,
                             Form::tensor_ring,
                             Form::tensor_train,
                             Form::tucker);
  s.inputs = any(1, 9);
  s.outputs = any(1, 9);
  s.experts = Sizes(any(1, 5), 2);
  for (std::size_t k = 0; k < rank_count(s.form, s.experts.size()); ++k)
    s.ranks.push_back(any(1, 5));
  if (s.form == Form::tensor_train) s.ranks[0] = 1;
  s.validate();
  RC_ASSERT(rank(random_expert(s)) == expert_matrix_rank(s));
}

struct Count {
  Form form;
  Sizes ranks;
  std::int64_t parameters, macs, matrix_rank;
};

TEST(Form, CountsOfTwoLevelsByHand) {
  const Count counts[] = {
      // 2 (3 + 5 + 8 + 11)
      {Form::cp, {2}, 54, 54, 2},
      // 2·3·3 + 3·5·4 + 4·8·5 + 5·11·2; F_1 F_2 2·3·4, times F_I 2·4·5
      {Form::tensor_ring, {2, 3, 4, 5}, 348, 348 + 64, 7},
      // 1·3·3 + 3·5·4 + 4·8·5 + 5·11·1; 1·3·4, 1·4·5
      {Form::tensor_train, {1, 3, 4, 5}, 284, 284 + 32, 5},
      // 3·2 + 5·3 + 8·4 + 2·3·4·5 + 11·5; 2·3·5 over level 2, 2·5 over 1
      {Form::tucker, {2, 3, 4, 5}, 228, 228 + 40, 4},
  };
  for (const Count& c : counts) {
    SCOPED_TRACE(to_string(c.form));
    LayerShape s{c.form, 7, 11, {3, 5}, c.ranks, true};
    s.validate();
    EXPECT_EQ(parameter_count(s), c.parameters);
    EXPECT_EQ(macs_per_token(s), c.macs);
    EXPECT_EQ(expert_matrix_rank(s), c.matrix_rank);
    s.bias = false;
    const std::int64_t row = c.form == Form::cp       ? 2
                             : c.form == Form::tucker ? 4
                                                      : 4 * 5;
    EXPECT_EQ(parameter_count(s), c.parameters - row);
    EXPECT_EQ(macs_per_token(s), c.macs - row);
    EXPECT_EQ(expert_matrix_rank(s), c.matrix_rank);
  }
}

// Layer shapes of the GPT-2 block, against the closed forms for one level.
TEST(Form, ClosedFormsOfOneLevel) {
  const std::int64_t N = 256, I = 768, O = 3072, P = 4, Q = 5, R = 149;
  const LayerShape cp{Form::cp, I, O, {N}, {R}, true};
  EXPECT_EQ(macs_per_token(cp), R * (N + I + 1 + O));
  EXPECT_EQ(macs_per_token(cp), parameter_count(cp));
  const LayerShape ring{Form::tensor_ring, I, O, {N}, {P, Q, R}, true};
  EXPECT_EQ(parameter_count(ring), P * N * Q + Q * (I + 1) * R + R * O * P);
  EXPECT_EQ(macs_per_token(ring), parameter_count(ring) + P * Q * R);
  const LayerShape tucker{Form::tucker, I, O, {N}, {P, Q, R}, true};
  EXPECT_EQ(macs_per_token(tucker),
            N * P + (I + 1) * Q + P * Q * R + P * R + R * O);
}

TEST(Form, NamesAreThoseOfConfigs) {
  EXPECT_EQ(to_string(Form::cp), "cp");
  EXPECT_EQ(to_string(Form::tensor_ring), "tr");
  EXPECT_EQ(to_string(Form::tensor_train), "tt");
  EXPECT_EQ(to_string(Form::tucker), "tucker");
}

TEST(Form, BadShapesAreRefusedByName) {
  const auto expect_refused = [](const LayerShape& shape,
                                 const std::string& text) {
    try {
      shape.validate();
      FAIL() << text;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos)
          << error.what();
    }
  };
  expect_refused({Form::cp, 7, 11, {}, {2}}, "experts: 0 levels");
  expect_refused({Form::cp, 7, 11, {2, 2, 2, 2, 2}, {2}}, "expected 1 to 4");
  expect_refused({Form::cp, 7, 11, {3}, {2, 2}},
                 "ranks: 2 given, expected 1 (R) for cp with 1 level");
  expect_refused({Form::tensor_ring, 7, 11, {3, 5}, {4, 4, 4}},
                 "ranks: 3 given, expected 4 (r_1");
  expect_refused({Form::tucker, 7, 11, {3}, {}}, "RN_1, ..., RN_E, RI, RO");
  expect_refused({Form::tensor_train, 7, 11, {3}, {4, 4, 4}}, "r_1 = 4");
  expect_refused({Form::cp, 0, 11, {3}, {2}}, "inputs: 0");
  expect_refused({Form::cp, 7, -1, {3}, {2}}, "outputs: -1");
  expect_refused({Form::cp, 7, 11, {3, 0}, {2}}, "experts: 0");
  expect_refused({Form::cp, 7, 11, {3}, {0}}, "ranks: 0");
}

TEST(Form, CountsBeyondIntegersAreRefused) {
  const std::int64_t large = std::int64_t{1} << 40;
  EXPECT_EQ(checked_product({large, 1 << 16}), std::int64_t{1} << 56);
  EXPECT_THROW(checked_product({large, 1 << 17}), InputError);
  EXPECT_THROW(checked_product({large, large}), InputError);
  EXPECT_THROW(parameter_count({Form::cp, large, 1, {2}, {large}}), InputError);
  EXPECT_THROW(parameter_count({Form::cp, 7, 11, {2}, {2, 2}}), InternalError);
}

}  // namespace
}  // namespace mumoe

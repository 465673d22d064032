// The gate's batch norm: over ranks, its state, and recomputation.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include <cmath>

#include "base/error.h"
#include "mumoe/gate.h"
#include "tests/support/thread_communicator.h"

namespace mumoe {
namespace {

using at::Tensor;

constexpr std::int64_t kRows = 23, kInputs = 7, kExperts = 12;

GateConfig config_of(GateActivation activation) {
  return {activation, GateNorm::batch, 3};
}

struct State {
  Tensor mean, var;

  static State fresh(at::ScalarType type) {
    return {at::zeros({kExperts}, type), at::ones({kExperts}, type)};
  }
  BatchStatistics with(dist::Communicator* group) const {
    return {.running_mean = mean, .running_var = var, .group = group};
  }
};

/// Everything that one rank, or the whole batch, gets out of one step.
struct Step {
  Tensor a, grad_x, grad_weight;
};

struct Problem {
  Tensor x, weight, w;

  static Problem random(at::ScalarType type) {
    at::manual_seed(8);
    const auto options = at::dtype(at::kDouble);
    return {(at::randn({kRows, kInputs}, options) + 0.5).to(type),
            at::randn({kInputs, kExperts}, options).to(type),
            at::randn({kRows, kExperts}, options).to(type)};
  }
  Problem rows(std::int64_t first, std::int64_t count) const {
    return {x.narrow(0, first, count), weight, w.narrow(0, first, count)};
  }
  Step run(GateActivation activation, BatchStatistics statistics) const {
    const Tensor x_leaf = x.clone().requires_grad_(true);
    const Tensor weight_leaf = weight.clone().requires_grad_(true);
    const Tensor a = gate(x_leaf,
                          weight_leaf,
                          config_of(activation),
                          GemmLibrary::mkl,
                          &statistics);
    a.backward(w);
    return {a.detach(), x_leaf.grad(), weight_leaf.grad()};
  }
};

void expect_close(const Tensor& found,
                  const Tensor& expected,
                  double tolerance,
                  const char* what) {
  EXPECT_TRUE(at::allclose(found, expected, tolerance, tolerance))
      << what << ": "
      << (found - expected).abs().max().to(at::kDouble).item<double>();
}

/// How many rows each rank has; uneven, and none on one.
std::vector<std::int64_t> shares(int ranks) {
  if (ranks == 1) return {kRows};
  if (ranks == 2) return {1, kRows - 1};
  return {5, 0, 1, kRows - 6};
}

void expect_any_split(GateActivation activation,
                      at::ScalarType type,
                      double tolerance) {
  const Problem problem = Problem::random(type);
  const auto state_type = type == at::kDouble ? at::kDouble : at::kFloat;
  const State whole_state = State::fresh(state_type);
  const Step whole = problem.run(activation, whole_state.with(nullptr));
  for (const int ranks : {1, 2, 4}) {
    SCOPED_TRACE(fmt::format("{} ranks, {}", ranks, at::toString(type)));
    std::vector<Step> steps(ranks);
    std::vector<State> states(ranks);
    dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
      std::int64_t first = 0;
      for (int r = 0; r < world.rank(); ++r) first += shares(ranks)[r];
      const int rank = world.rank();
      const Problem mine = problem.rows(first, shares(ranks)[rank]);
      states[rank] = State::fresh(state_type);
      steps[rank] = mine.run(activation, states[rank].with(&world));
    });
    std::vector<Tensor> a, grad_x;
    Tensor grad_weight = at::zeros_like(problem.weight, at::kDouble);
    for (const Step& step : steps) {
      a.push_back(step.a);
      grad_x.push_back(step.grad_x);
      grad_weight += step.grad_weight.to(at::kDouble);
    }
    expect_close(at::cat(a), whole.a, tolerance, "a");
    expect_close(at::cat(grad_x), whole.grad_x, 10 * tolerance, "dx");
    expect_close(grad_weight.to(type), whole.grad_weight, 10 * tolerance, "dG");
    for (const State& state : states) {
      expect_close(state.mean, whole_state.mean, tolerance, "running mean");
      expect_close(state.var, whole_state.var, tolerance, "running variance");
    }
  }
}

TEST(GateBatch, AnySplitOverRanksEqualsOneProcess) {
  for (const auto activation : {GateActivation::entmax15,
                                GateActivation::softmax,
                                GateActivation::top_k}) {
    expect_any_split(activation, at::kDouble, 1e-13);
    expect_any_split(activation, at::kFloat, 2e-6);
  }
  // dG is rounded on each rank before it is added up.
  expect_any_split(GateActivation::softmax, at::kBFloat16, 1e-2);
}

TEST(GateBatch, TrainingFollowsTheDefinition) {
  const Problem problem = Problem::random(at::kDouble);
  const State state = State::fresh(at::kDouble);
  const Tensor a = problem.run(GateActivation::entmax15, state.with(nullptr)).a;
  const Tensor logits = at::mm(problem.x, problem.weight);
  const Tensor mean = logits.mean(0);
  const Tensor squares = (logits - mean).square().sum(0);
  const Tensor z = (logits - mean) / (squares / kRows + 1e-5).sqrt();
  expect_close(a, gate_coefficients(z, {.norm = GateNorm::none}), 1e-12, "a");
  expect_close(state.mean, 0.1 * mean, 1e-12, "running mean");
  expect_close(state.var,
               0.9 + 0.1 * squares / (kRows - 1),
               1e-12,
               "running variance");
}

TEST(GateBatch, EvaluationUsesTheRunningStatisticsAndKeepsThem) {
  const Problem problem = Problem::random(at::kDouble);
  const State state{at::randn({kExperts}, at::kDouble),
                    at::rand({kExperts}, at::kDouble) + 0.5};
  const Tensor mean = state.mean.clone(), var = state.var.clone();
  auto statistics = state.with(nullptr);
  statistics.training = false;
  const Tensor a = problem.run(GateActivation::entmax15, statistics).a;
  const Tensor z =
      (at::mm(problem.x, problem.weight) - mean) / (var + 1e-5).sqrt();
  expect_close(a, gate_coefficients(z, {.norm = GateNorm::none}), 1e-12, "a");
  EXPECT_TRUE(at::equal(state.mean, mean));
  EXPECT_TRUE(at::equal(state.var, var));
  // One token is enough.
  const Tensor one =
      problem.rows(4, 1).run(GateActivation::entmax15, statistics).a;
  expect_close(one, a.narrow(0, 4, 1), 1e-12, "one row");
}

TEST(GateBatch, AFirstRunSparesTheSecondItsCollectives) {
  const Problem problem = Problem::random(at::kFloat);
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    const Problem mine = problem.rows(10 * world.rank(), 10);
    const State state = State::fresh(at::kFloat);
    BatchMoments moments;
    auto statistics = state.with(&world);
    statistics.moments = &moments;
    const auto calls = [&] {
      return world.traffic(dist::Op::all_reduce).calls;
    };
    Tensor first;
    {
      const at::NoGradGuard no_grad;
      first = gate(mine.x,
                   mine.weight,
                   config_of(GateActivation::entmax15),
                   GemmLibrary::mkl,
                   &statistics);
    }
    EXPECT_EQ(calls(), 2);
    const Tensor mean = state.mean.clone(), var = state.var.clone();
    const Step again = mine.run(GateActivation::entmax15, statistics);
    EXPECT_EQ(calls(), 3) << "backward's alone";
    EXPECT_TRUE(at::equal(again.a, first)) << "to the bit";
    EXPECT_TRUE(at::equal(state.mean, mean));
    EXPECT_TRUE(at::equal(state.var, var));
    const State other = State::fresh(at::kFloat);
    const Step plain = mine.run(GateActivation::entmax15, other.with(&world));
    EXPECT_TRUE(at::equal(again.grad_x, plain.grad_x));
    EXPECT_TRUE(at::equal(again.grad_weight, plain.grad_weight));
  });
}

TEST(GateBatch, EqualLogitsOfAnExpertAreNormalisedToZero) {
  for (const double value : {0.0, 1.0, -1e4, 3e7}) {
    const State state = State::fresh(at::kFloat);
    auto statistics = state.with(nullptr);
    const Tensor a = gate_coefficients(at::full({1000, kExperts}, value),
                                       {.norm = GateNorm::batch},
                                       &statistics);
    expect_close(a, at::full_like(a, 1.0 / kExperts), 1e-6, "a");
  }
}

TEST(GateBatch, OneTokenInAllIsAnError) {
  const Problem problem = Problem::random(at::kFloat);
  const State state = State::fresh(at::kFloat);
  EXPECT_THROW(
      problem.rows(0, 1).run(GateActivation::softmax, state.with(nullptr)),
      InputError);
  EXPECT_TRUE(at::equal(state.mean, at::zeros({kExperts})));
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    const State mine = State::fresh(at::kFloat);
    EXPECT_THROW(problem.rows(0, world.rank())
                     .run(GateActivation::softmax, mine.with(&world)),
                 InputError);
    // One on each rank is a batch of two.
    problem.rows(0, 1).run(GateActivation::softmax, mine.with(&world));
  });
}

TEST(GateBatch, NanReachesEveryToken) {
  Problem problem = Problem::random(at::kFloat);
  problem.x[3][0] = std::nan("");
  for (const auto activation : {GateActivation::entmax15,
                                GateActivation::softmax,
                                GateActivation::top_k}) {
    const State state = State::fresh(at::kFloat);
    const Tensor a = problem.run(activation, state.with(nullptr)).a;
    EXPECT_TRUE(a.isnan().all().item<bool>());
  }
}

}  // namespace
}  // namespace mumoe

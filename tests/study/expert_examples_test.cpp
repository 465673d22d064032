#include "study/experts/expert_examples.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "base/random.h"
#include "study/experts/level_pairs.h"
#include "study/experts/routing_trace.h"
#include "tests/study/error_of.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::study {
namespace {

using testing::error_of;

constexpr std::int64_t kTokens = 7;
constexpr std::int64_t kExperts = 5;
constexpr std::uint64_t kSamples = 41;

std::vector<Gate> two_levels() {
  return {{0, 0, "h.0.mlp level 0", kExperts},
          {0, 1, "h.0.mlp level 1", kExperts}};
}

/// Coefficients of a sample at gate `gate`, [kTokens, kExperts]: many zeros,
/// many that are 1.
at::Tensor made_up(std::uint64_t sample, std::size_t gate) {
  const CounterRandom random(3, Purpose::test, sample * 2 + gate);
  const at::Tensor a = at::empty({kTokens, kExperts}, at::kFloat);
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double x = 2 * random.uniform(static_cast<std::uint64_t>(i)) - 0.8;
    a.data_ptr<float>()[i] = static_cast<float>(std::clamp(x, 0.0, 1.0));
  }
  return a;
}

/// Calls `visit` for batches of four samples, those of rank `rank` of `ranks`,
/// the last first where `reversed`.
template <class Visit>
void each_batch(int rank, int ranks, bool reversed, const Visit& visit) {
  std::vector<std::vector<std::uint64_t>> batches;
  for (std::uint64_t sample = 0; sample < kSamples; ++sample) {
    if (sample % 4 == 0) batches.emplace_back();
    batches.back().push_back(sample);
  }
  if (reversed) std::ranges::reverse(batches);
  for (std::size_t b = 0; b < batches.size(); ++b) {
    if (static_cast<int>(b) % ranks != rank) continue;
    std::vector<at::Tensor> coefficients;
    for (std::size_t g = 0; g < 2; ++g) {
      std::vector<at::Tensor> rows;
      for (const auto sample : batches[b]) rows.push_back(made_up(sample, g));
      coefficients.push_back(at::cat(rows));
    }
    const model::Batch batch;
    visit(RoutedBatch{batches[b], batch, coefficients, {}});
  }
}

/// What `Keeper`, made by `make`, finds on `ranks` ranks; all of them find the
/// same.
template <class Make>
auto found_on(int ranks, bool reversed, const Make& make) {
  using Found =
      decltype(make().finish(std::declval<dist::Communicator&>(), true));
  std::vector<Found> found(static_cast<std::size_t>(ranks));
  dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
    auto keeper = make();
    each_batch(world.rank(), ranks, reversed, [&](const RoutedBatch& batch) {
      keeper.add(batch);
    });
    found[static_cast<std::size_t>(world.rank())] = keeper.finish(world, true);
  });
  return found;
}

std::vector<std::vector<ExpertExamples>>
picked(int ranks, bool reversed, const ExamplePicker::Options& options) {
  const auto gates = two_levels();
  const auto found =
      found_on(ranks, reversed, [&] { return ExamplePicker(gates, options); });
  for (const auto& one : found) {
    for (std::size_t g = 0; g < one.size(); ++g) {
      for (std::size_t n = 0; n < one[g].size(); ++n) {
        EXPECT_EQ(one[g][n].top, found[0][g][n].top);
        EXPECT_EQ(one[g][n].drawn, found[0][g][n].drawn);
      }
    }
  }
  return found[0];
}

TEST(ExamplePicker, TakesTheLargestAndDrawsTheRest) {
  const ExamplePicker::Options options{.per_expert = 6, .threshold = 0.4};
  const auto found = picked(1, false, options);
  ASSERT_EQ(found.size(), 2u);
  for (std::size_t g = 0; g < 2; ++g) {
    for (std::int64_t n = 0; n < kExperts; ++n) {
      std::vector<double> all;
      for (std::uint64_t s = 0; s < kSamples; ++s) {
        for (std::int64_t t = 0; t < kTokens; ++t) {
          all.push_back(made_up(s, g)[t][n].item<double>());
        }
      }
      std::ranges::sort(all, std::greater<>());
      const ExpertExamples& of = found[g][static_cast<std::size_t>(n)];
      ASSERT_EQ(of.top.size(), 6u);
      for (std::size_t i = 0; i < 6; ++i) {
        EXPECT_EQ(of.top[i].coefficient, all[i]);
      }
      ASSERT_EQ(of.drawn.size(), 6u);
      std::set<std::pair<std::uint64_t, std::int64_t>> places;
      for (const auto* list : {&of.top, &of.drawn}) {
        places.clear();
        for (const Example& e : *list) {
          EXPECT_TRUE(places.emplace(e.sample, e.token).second) << "twice";
          EXPECT_EQ(e.coefficient,
                    made_up(e.sample, g)[e.token][n].item<double>());
        }
      }
      for (const Example& e : of.drawn) EXPECT_GE(e.coefficient, 0.4);
    }
  }
}

TEST(ExamplePicker, FindsTheSameOnAnyRanksInAnyOrder) {
  const ExamplePicker::Options options{.per_expert = 4, .threshold = 0.4};
  const auto one = picked(1, false, options);
  for (const int ranks : {1, 2, 3}) {
    const auto several = picked(ranks, true, options);
    for (std::size_t g = 0; g < 2; ++g) {
      for (std::size_t n = 0; n < kExperts; ++n) {
        EXPECT_EQ(several[g][n].top, one[g][n].top) << ranks << " ranks";
        EXPECT_EQ(several[g][n].drawn, one[g][n].drawn);
      }
    }
  }
  // Of many equal ones, each list has its own.
  const auto equal = picked(1, false, {.per_expert = 4, .threshold = 1});
  EXPECT_EQ(equal[0][0].top.back().coefficient, 1);
  EXPECT_NE(equal[0][0].top, equal[0][0].drawn);
  auto other = options;
  other.seed = 2;
  EXPECT_NE(picked(1, false, other)[0][0].drawn, one[0][0].drawn);
}

TEST(ExamplePicker, DrawsEverySampleAsOften) {
  // Of 41 samples a twelfth each is drawn; in 60 draws each comes about 15
  // times, of samples with a token that may be drawn.
  std::vector<int> drawn(kSamples);
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const auto found =
        picked(1, false, {.per_expert = 2, .threshold = 0.2, .seed = seed});
    for (const auto& expert : found[0]) {
      for (const Example& e : expert.drawn) ++drawn[e.sample];
    }
  }
  EXPECT_GT(std::ranges::count_if(drawn, [](int n) { return n > 0; }), 38);
  EXPECT_LT(*std::ranges::max_element(drawn), 40);
}

TEST(ExamplePicker, RefusesWhatItCannotTake) {
  EXPECT_EQ(error_of([] { ExamplePicker({}, {.threshold = 0}); }),
            "--threshold 0: expected a coefficient above 0, at most 1");
  EXPECT_EQ(error_of([] { ExamplePicker({}, {.per_expert = 0}); }),
            "--per-expert 0: expected at least 1");
}

TEST(LevelPairs, AreMeansOfProducts) {
  const auto gates = two_levels();
  for (const int ranks : {1, 2}) {
    const auto found =
        found_on(ranks, false, [&] { return LevelPairs(gates); });
    ASSERT_EQ(found.back().size(), 1u);
    const LevelPair& pair = found.back()[0];
    at::Tensor sum = at::zeros({kExperts, kExperts}, at::kDouble);
    for (std::uint64_t s = 0; s < kSamples; ++s) {
      sum +=
          made_up(s, 0).to(at::kDouble).t().mm(made_up(s, 1).to(at::kDouble));
    }
    sum = (sum / static_cast<double>(kSamples * kTokens)).flatten();
    for (std::int64_t i = 0; i < sum.numel(); ++i) {
      EXPECT_NEAR(pair.mean[static_cast<std::size_t>(i)],
                  sum[i].item<double>(),
                  1e-9);
    }
  }
}

TEST(Tracer, KeepsTheLargestOfEachToken) {
  const auto gates = two_levels();
  const std::vector<std::uint64_t> wanted{17, 3};
  for (const int ranks : {1, 3}) {
    const auto found =
        found_on(ranks, false, [&] { return Tracer(gates, wanted); });
    const std::vector<RoutingTrace>& traces = found.back();
    ASSERT_EQ(traces.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
      for (std::size_t g = 0; g < 2; ++g) {
        const GateTrace& trace = traces[i][g];
        ASSERT_EQ(trace.tokens, kTokens);
        const at::Tensor a = made_up(wanted[i], g);
        for (std::int64_t t = 0; t < kTokens; ++t) {
          double last = 2;
          for (std::int64_t k = 0; k < GateTrace::kMost; ++k) {
            const auto at = static_cast<std::size_t>(t * GateTrace::kMost + k);
            const std::int64_t expert = trace.experts[at];
            EXPECT_LE(trace.coefficients[at], last);
            last = trace.coefficients[at];
            EXPECT_EQ(expert == -1, last == 0);
            if (expert < 0) continue;
            EXPECT_EQ(a[t][expert].item<double>(), last);
          }
          EXPECT_EQ(
              trace
                  .coefficients[static_cast<std::size_t>(t * GateTrace::kMost)],
              a[t].max().item<double>());
        }
      }
    }
  }
}

}  // namespace
}  // namespace mumoe::study

// The samples that a run takes, whatever ranks it is stopped and resumed on,
// and mistakes in that, each of which the digests find at the first step.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "data/mixture.h"
#include "data/sample_chain.h"
#include "data/sequence.h"
#include "tests/data/counted_samples.h"
#include "train/batches.h"
#include "train/sample_proof.h"

namespace mumoe::train {
namespace {

using testing::CountedSamples;
using Numbers = std::vector<std::uint64_t>;
using Dealer = std::function<Deal(const BatchPlan&, int rank, std::int64_t)>;

/// A run without a model: it takes samples as the trainer does.
class Taker {
 public:
  Taker(const data::Sequence& sequence, std::int64_t batch)
      : sequence_(sequence), batch_(batch) {
    promise();
  }

  /// From a checkpoint on, `steps` steps of `ranks` ranks.
  void run(int ranks,
           std::int64_t micro_batch,
           int steps,
           const Dealer& deal = deal_training) {
    const auto plan = BatchPlan::make(batch_, micro_batch, ranks);
    std::vector<Deal> deals;
    for (int rank = 0; rank < ranks; ++rank) {
      deals.push_back(deal(plan, rank, samples_));
    }
    for (int step = 0; step < steps; ++step) {
      const auto digest = take(plan, deals, step);
      if (step == 0) require_promised({digest}, taken_.next, step_ + 1, "step");
      taken_.chain = data::chained(taken_.chain, digest);
      ++step_;
      samples_ += batch_;
    }
    promise();
  }

  /// Whoever goes on takes them from elsewhere.
  Taker resumed_with(const data::Sequence& sequence) const {
    Taker taker(sequence, batch_);
    taker.taken_ = taken_;
    taker.step_ = step_;
    taker.samples_ = samples_;
    return taker;
  }
  void set_position(std::int64_t samples) { samples_ = samples; }

  const Numbers& indices() const { return indices_; }
  std::uint64_t chain() const { return taken_.chain; }

 private:
  std::uint64_t take(const BatchPlan& plan,
                     const std::vector<Deal>& deals,
                     int step) {
    std::vector<double> sums(4, 0.0);
    for (std::size_t rank = 0; rank < deals.size(); ++rank) {
      std::uint64_t digest = 0;
      for (std::int64_t micro = 0; micro < plan.micro_steps; ++micro) {
        const auto run = plan.of_micro_batch(static_cast<int>(rank), micro);
        const auto batch =
            sequence_.make(deals[rank](step * plan.micro_steps + micro));
        if (run.count == 0) continue;
        indices_.insert(indices_.end(),
                        batch.indices.begin(),
                        batch.indices.end());
        digest += data::digest_of(batch.numbers, batch.indices);
      }
      const auto parts = digest_parts(digest, /*tp_rank=*/0);
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += parts[i];
    }
    return agreed_digest(sums, /*tp=*/1).digest;
  }
  void promise() {
    taken_.next = data::expected_digest(sequence_.order(), samples_, batch_);
  }

  const data::Sequence& sequence_;
  std::int64_t batch_;
  std::int64_t step_ = 0, samples_ = 0;
  run::TakenSamples taken_;
  Numbers indices_;
};

/// A source or several.
struct Corpus {
  explicit Corpus(const CounterRandom& random)
      : Corpus(sizes_of(random), random) {}

  std::vector<CountedSamples> sources;
  std::vector<data::MixtureOrder::Source> weights;
  std::unique_ptr<data::MixedSamples> samples;
  std::unique_ptr<data::MixtureOrder> order;

  /// Each source's samples once an epoch of its own, its epochs in turn.
  void expect_whole_epochs(const Numbers& indices) const {
    std::vector<std::set<std::uint64_t>> epoch(sources.size());
    Numbers drawn(sources.size());
    for (const std::uint64_t index : indices) {
      const auto [source, own] = samples->source_of(index);
      const auto size = sources[source].size();
      ASSERT_EQ(own / size, drawn[source]++ / size);
      ASSERT_TRUE(epoch[source].insert(own % size).second);
      if (epoch[source].size() == size) epoch[source].clear();
    }
  }

 private:
  static Numbers sizes_of(const CounterRandom& random) {
    Numbers sizes(1 + random.below(0, 4));
    for (std::size_t s = 0; s < sizes.size(); ++s) {
      sizes[s] = 1 + random.below(1 + s, 60);
    }
    return sizes;
  }
  Corpus(const Numbers& sizes, const CounterRandom& random) {
    std::vector<const data::Samples*> parts;
    for (const auto size : sizes) sources.emplace_back(size);
    for (std::size_t s = 0; s < sources.size(); ++s) {
      parts.push_back(&sources[s]);
      weights.push_back({sizes[s], 0.05 + random.uniform(10 + s)});
    }
    samples = std::make_unique<data::MixedSamples>(parts);
    order = std::make_unique<data::MixtureOrder>(random.below(20, 1u << 30),
                                                 weights);
  }
};

TEST(SampleOrder, IsTheSameForEveryChainOfRanksAndStops) {
  for (int number = 0; number < 1000; ++number) {
    SCOPED_TRACE(number);
    const CounterRandom random(14, Purpose::test, number);
    const Corpus corpus(random);
    const data::OrderedSamples sequence(*corpus.samples, *corpus.order);
    const auto batch = static_cast<std::int64_t>(1 + random.below(30, 24));
    Taker taker(sequence, batch);
    std::int64_t steps = 0;
    for (std::uint64_t part = 0; part < 1 + random.below(31, 5); ++part) {
      const auto draw = [&](int what, std::uint64_t bound) {
        return static_cast<int>(random.below(100 + 10 * part + what, bound));
      };
      const int ranks = 1 + draw(0, std::min<std::int64_t>(batch, 7));
      const int micro = batch % ranks == 0 ? 0 : draw(1, 4);
      const int more = draw(2, 9);
      taker.run(ranks, micro, more);
      steps += more;
    }
    Numbers expected;
    for (std::int64_t n = 0; n < steps * batch; ++n) {
      expected.push_back(corpus.order->index(n));
    }
    ASSERT_EQ(taker.indices(), expected);
    corpus.expect_whole_epochs(taker.indices());
    Taker one(sequence, batch);
    one.run(1, 0, static_cast<int>(steps));
    ASSERT_EQ(taker.chain(), one.chain());
  }
}

// ---- Mistakes, each planted where a run resumes

constexpr std::uint64_t kSeed = 5;
constexpr std::int64_t kBatch = 8;

/// A run over `size` samples, stopped after `steps` steps of 4 ranks.
struct Stopped {
  Stopped(std::uint64_t size, int steps)
      : samples(size), order(kSeed, size), sequence(samples, order) {
    taker.run(4, 1, steps);
  }

  CountedSamples samples;
  data::Order order;
  data::OrderedSamples sequence;
  Taker taker{sequence, kBatch};
};

/// The first step after resuming on two ranks refuses `deal`, while the run
/// goes on without the mistake.
void expect_found(const Stopped& stopped,
                  const Dealer& deal,
                  const data::Sequence* sequence = nullptr) {
  Taker right = stopped.taker.resumed_with(stopped.sequence);
  EXPECT_NO_THROW(right.run(2, 2, 1));
  Taker wrong =
      stopped.taker.resumed_with(sequence ? *sequence : stopped.sequence);
  const auto chain = wrong.chain();
  try {
    wrong.run(2, 2, 1, deal);
    FAIL() << "nobody noticed";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("took samples of digest"),
              std::string::npos)
        << error.what();
  }
  EXPECT_EQ(wrong.chain(), chain) << "the step counts for nothing";
}

TEST(SampleFaults, ARestartFromTheBeginningIsFound) {
  expect_found(Stopped(100, 3), [](const auto& plan, int rank, auto) {
    return deal_training(plan, rank, 0);
  });
}

TEST(SampleFaults, SamplesTwiceOnTwoRanksAreFound) {
  expect_found(Stopped(100, 3), [](const auto& plan, int, auto first) {
    return deal_training(plan, 0, first);
  });
}

TEST(SampleFaults, ALoaderAStepAheadOfTheModelIsFound) {
  expect_found(Stopped(100, 3), [](const auto& plan, int rank, auto first) {
    return deal_training(plan, rank, first + kBatch);
  });
}

TEST(SampleFaults, RanksDroppedWhereTheyBecomeFewerAreFound) {
  // The two that are left take what they took of four.
  expect_found(Stopped(100, 3), [](const auto&, int rank, auto first) {
    return deal_training(BatchPlan::make(kBatch, 1, 4), rank, first);
  });
}

TEST(SampleFaults, ADroppedEpochIsFound) {
  expect_found(Stopped(100, 3), [](const auto& plan, int rank, auto first) {
    return deal_training(plan, rank, first + 100);
  });
}

TEST(SampleFaults, TailsOfAnEpochThatDifferByRankAreFound) {
  // Step 4 has the last 3 samples of an epoch of 27: each rank begins the next
  // one as soon as its own part has passed the end.
  const auto deal = [](const BatchPlan& plan, int rank, std::int64_t first) {
    const Deal inner = deal_training(plan, rank, first);
    const auto end = static_cast<std::uint64_t>(27);
    return [inner, end, own = plan.of_rank(rank).begin](std::uint64_t micro) {
      Numbers numbers = inner(micro);
      for (std::uint64_t& number : numbers) {
        if (number >= end) number += own;
      }
      return numbers;
    };
  };
  expect_found(Stopped(27, 3), deal);
}

TEST(SampleFaults, AResumptionAtTheEndOfAnEpochThatRepeatsItIsFound) {
  expect_found(Stopped(40, 5), [](const auto& plan, int rank, auto first) {
    return deal_training(plan, rank, first - 40);
  });
}

/// Every epoch like the first.
class Replayed final : public data::SampleOrder {
 public:
  explicit Replayed(const data::Order& order) : order_(order) {}
  std::uint64_t index(std::uint64_t sample) const override {
    const auto size = order_.size();
    return sample / size * size + order_.item(sample % size);
  }

 private:
  const data::Order& order_;
};

TEST(SampleFaults, TheSameSeedReplayedIsFound) {
  const Stopped stopped(20, 4);  // in its second epoch
  const Replayed replayed(stopped.order);
  const data::OrderedSamples sequence(stopped.samples, replayed);
  expect_found(stopped, deal_training, &sequence);
}

TEST(SampleFaults, AStateOfAnotherPositionIsFound) {
  const Stopped stopped(100, 3);
  Taker wrong = stopped.taker.resumed_with(stopped.sequence);
  wrong.set_position(2 * kBatch);
  EXPECT_THROW(wrong.run(4, 1, 1), InputError);
}

TEST(SampleDigests, TravelAsExactHalves) {
  const std::uint64_t digests[] = {~0ull, 0x0123456789abcdefull, 1, 0};
  for (const int tp : {1, 2, 3}) {
    SCOPED_TRACE(tp);
    std::vector<double> sums(4, 0.0);
    std::uint64_t sum = 0;
    const auto add = [&](std::uint64_t digest, int tp_rank) {
      const auto parts = digest_parts(digest, tp_rank);
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += parts[i];
    };
    for (const auto digest : digests) {
      sum += digest;
      for (int tp_rank = 0; tp_rank < tp; ++tp_rank) add(digest, tp_rank);
    }
    EXPECT_EQ(agreed_digest(sums, tp).digest, sum);
    EXPECT_TRUE(agreed_digest(sums, tp).same_over_tp);
    add(1, 1);
    EXPECT_FALSE(agreed_digest(sums, tp).same_over_tp);
  }
}

}  // namespace
}  // namespace mumoe::train

#include "data/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/purposes.h"

namespace mumoe::data {
namespace {

constexpr std::uint64_t kBlock = 1000;
constexpr std::size_t kMostSources = 256;

// Streams of kMixturePurpose.
constexpr std::uint64_t kTurns = 0, kShuffle = 1, kSeeds = 2;

/// Rows taken out of one batch and put into another.
void copy_rows(const Rows& from,
               std::int64_t samples,
               std::span<const std::size_t> to_rows,
               std::size_t all,
               Rows& to) {
  std::visit(
      [&]<class Numbers>(const Numbers& values) {
        if (std::visit([](const auto& v) { return v.empty(); }, to)) {
          to = Numbers(values.size() / samples * all);
        }
        auto* const out = std::get_if<Numbers>(&to);
        const std::size_t width = values.size() / samples;
        require(out != nullptr && out->size() == width * all,
                "sources of a mixture have samples of different kinds or "
                "sizes; expected the same in all");
        for (std::size_t row = 0; row < to_rows.size(); ++row) {
          std::copy_n(values.begin() + row * width,
                      width,
                      out->begin() + to_rows[row] * width);
        }
      },
      from);
}

/// Places of a block for so many weights that are whole and few: their sum, as
/// often as fits. Else a round number.
std::uint64_t block_for(const std::vector<MixtureOrder::Source>& sources) {
  std::uint64_t sum = 0, divisor = 0;
  for (const auto& source : sources) {
    if (source.weight != std::floor(source.weight) ||
        source.weight > static_cast<double>(kBlock)) {
      return kBlock;
    }
    sum += static_cast<std::uint64_t>(source.weight);
    divisor = std::gcd(divisor, static_cast<std::uint64_t>(source.weight));
  }
  sum /= divisor;
  return sum > kBlock ? kBlock : kBlock / sum * sum;
}

/// Whole shares of `block`, by largest remainders, at least 1 each.
std::vector<std::uint64_t> shares_of(
    const std::vector<MixtureOrder::Source>& sources,
    std::uint64_t block) {
  double sum = 0;
  for (const auto& source : sources) sum += source.weight;
  std::vector<std::uint64_t> shares;
  std::vector<double> missing;
  for (const auto& source : sources) {
    const double exact = source.weight / sum * static_cast<double>(block);
    shares.push_back(std::max<std::uint64_t>(
        1,
        static_cast<std::uint64_t>(std::floor(exact + 1e-9))));
    missing.push_back(exact - static_cast<double>(shares.back()));
  }
  const auto used = [&] {
    return std::accumulate(shares.begin(), shares.end(), std::uint64_t{0});
  };
  // The first of equals: the same on every machine.
  while (used() < block) {
    const auto most = std::ranges::max_element(missing) - missing.begin();
    ++shares[most];
    missing[most] -= 1;
  }
  while (used() > block) {  // of a source that has more than it should
    std::size_t least = 0;
    for (std::size_t s = 0; s < shares.size(); ++s) {
      if (shares[least] == 1 || (shares[s] > 1 && missing[s] < missing[least]))
        least = s;
    }
    --shares[least];
    missing[least] += 1;
  }
  return shares;
}

}  // namespace

MixedSamples::MixedSamples(std::vector<const Samples*> sources)
    : sources_(std::move(sources)) {
  require(!sources_.empty(), "mixture of no sources: expected at least 1");
  std::uint64_t end = 0;
  for (const Samples* source : sources_) {
    end += source->size();
    ends_.push_back(end);
    require(source->targets_per_sample() == targets_per_sample(),
            "sources of a mixture have {} and {} targets a sample: expected "
            "the same in all",
            targets_per_sample(),
            source->targets_per_sample());
  }
}

SourceSample MixedSamples::source_of(std::uint64_t index) const {
  const std::uint64_t epoch = index / size(), item = index % size();
  const auto source = static_cast<std::size_t>(
      std::ranges::upper_bound(ends_, item) - ends_.begin());
  const std::uint64_t own = sources_[source]->size();
  return {source, epoch * own + item - (ends_[source] - own)};
}

HostBatch MixedSamples::make(std::span<const std::uint64_t> indices) const {
  std::vector<std::vector<std::uint64_t>> of_source(sources_.size());
  std::vector<std::vector<std::size_t>> rows(sources_.size());
  for (std::size_t row = 0; row < indices.size(); ++row) {
    const SourceSample sample = source_of(indices[row]);
    of_source[sample.source].push_back(sample.index);
    rows[sample.source].push_back(row);
  }
  HostBatch batch;
  batch.samples = static_cast<std::int64_t>(indices.size());
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    if (rows[s].empty()) continue;
    const HostBatch part = sources_[s]->make(of_source[s]);
    copy_rows(part.input, part.samples, rows[s], indices.size(), batch.input);
    copy_rows(part.target, part.samples, rows[s], indices.size(), batch.target);
  }
  return batch;
}

MixtureOrder::MixtureOrder(std::uint64_t seed,
                           const std::vector<Source>& sources)
    : seed_(seed) {
  require(!sources.empty() && sources.size() <= kMostSources,
          "mixture of {} sources: expected 1 to {}",
          sources.size(),
          kMostSources);
  const CounterRandom seeds(seed, kMixturePurpose, kSeeds);
  for (std::size_t s = 0; s < sources.size(); ++s) {
    require(sources[s].weight > 0 && std::isfinite(sources[s].weight),
            "mixture: weight {} of source {}: expected more than 0",
            sources[s].weight,
            s + 1);
    const auto bits = seeds.bits(s);
    // The first has the order of a run of its own.
    orders_.emplace_back(s == 0 ? seed : std::uint64_t{bits[1]} << 32 | bits[0],
                         sources[s].size);
    starts_.push_back(size_);
    size_ += sources[s].size;
  }
  shares_ = shares_of(sources, block_for(sources));
  std::vector<std::uint16_t> sorted;
  for (std::size_t s = 0; s < sources.size(); ++s) {
    sorted.insert(sorted.end(), shares_[s], static_cast<std::uint16_t>(s));
  }
  const CounterRandom shuffle(seed, kMixturePurpose, kShuffle);
  for (std::size_t last = sorted.size(); last > 1; --last) {
    std::swap(sorted[last - 1], sorted[shuffle.below(last, last)]);
  }
  places_ = std::move(sorted);
  before_.assign((places_.size() + 1) * sources.size(), 0);
  for (std::size_t place = 0; place < places_.size(); ++place) {
    for (std::size_t s = 0; s < sources.size(); ++s) {
      before_[(place + 1) * sources.size() + s] =
          before_[place * sources.size() + s] + (places_[place] == s);
    }
  }
}

std::uint64_t MixtureOrder::turn(std::uint64_t block) const {
  return CounterRandom(seed_, kMixturePurpose, kTurns)
      .below(block, places_.size());
}

std::size_t MixtureOrder::source(std::uint64_t sample) const {
  const std::uint64_t block = sample / places_.size();
  return places_[(sample + turn(block)) % places_.size()];
}

std::uint64_t MixtureOrder::index(std::uint64_t sample) const {
  const std::uint64_t length = places_.size();
  const std::uint64_t block = sample / length, from = turn(block);
  const std::uint64_t place = from + sample % length;
  const std::size_t source = places_[place % length];
  // Its places from the turn up to here, beyond the end where that is passed.
  const std::uint64_t here = before(place % length, source) +
                             (place < length ? 0 : shares_[source]) -
                             before(from, source);
  const std::uint64_t number = block * shares_[source] + here;
  const Order& order = orders_[source];
  return order.epoch(number) * size_ + starts_[source] + order.item(number);
}

}  // namespace mumoe::data

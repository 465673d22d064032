#include "data/sampler.h"

#include <fmt/format.h>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "data/text/forms.h"

namespace mumoe::data {
namespace {

constexpr std::uint64_t kRounds = 8;

/// The least base with base * base >= size.
std::uint64_t square_root_up(std::uint64_t size) {
  auto root = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(size)));
  while (root * root < size) ++root;
  while (root > 1 && (root - 1) * (root - 1) >= size) --root;
  return root;
}

std::uint64_t whole_windows(std::uint64_t tokens,
                            std::int64_t context,
                            const std::string& what) {
  require_window(tokens, context, what);
  return (tokens - 1) / static_cast<std::uint64_t>(context);
}

}  // namespace

void require_window(std::uint64_t tokens,
                    std::int64_t context,
                    const std::string& what) {
  const std::string subject = what.empty() ? "" : printable(what) + ": ";
  require(context > 0,
          "{}context {}: expected model.context to be at least 1",
          subject,
          context);
  const auto length = static_cast<std::uint64_t>(context);
  require(tokens > length,
          "{}{} tokens with context {}: expected at least {} tokens, one "
          "window: prepare more text{}",
          subject,
          tokens,
          context,
          length + 1,
          tokens > 1
              ? fmt::format(", or choose a model.context below {}", tokens)
              : "");
}

std::uint64_t permute(std::uint64_t seed,
                      std::uint64_t epoch,
                      std::uint64_t size,
                      std::uint64_t i) {
  const std::uint64_t columns = square_root_up(size);
  // columns * rows exceeds size by less than columns: walking is rare.
  const std::uint64_t rows = (size + columns - 1) / columns;
  const CounterRandom random(seed, Purpose::sample_order, epoch);
  do {
    std::uint64_t row = i / columns;
    std::uint64_t column = i % columns;
    for (std::uint64_t round = 0; round < kRounds; round += 2) {
      row = (row + random.below(round << 32 | column, rows)) % rows;
      column =
          (column + random.below((round + 1) << 32 | row, columns)) % columns;
    }
    i = row * columns + column;
  } while (i >= size);
  return i;
}

Sampler::Sampler(std::uint64_t seed, std::uint64_t size)
    : seed_(seed), size_(size) {
  require(size > 0, "sampler over 0 items: expected at least 1");
}

std::uint64_t Sampler::item(std::uint64_t sample) const {
  return permute(seed_, epoch(sample), size_, sample % size_);
}

WindowSampler::WindowSampler(std::uint64_t seed,
                             std::uint64_t tokens,
                             std::int64_t context,
                             const std::string& what)
    : seed_(seed),
      context_(static_cast<std::uint64_t>(context)),
      shifted_(whole_windows(tokens, context, what) > 1),
      order_(seed, whole_windows(tokens, context, what) - (shifted_ ? 1 : 0)) {}

WindowSampler::WindowSampler(std::uint64_t seed,
                             const TokenFile& file,
                             std::int64_t context)
    : WindowSampler(seed, file.size(), context, file.path().string()) {}

std::uint64_t WindowSampler::first_token(std::uint64_t sample) const {
  const CounterRandom random(seed_, Purpose::window_offset);
  const std::uint64_t shift =
      shifted_ ? random.below(epoch(sample), context_) : 0;
  return shift + order_.item(sample) * context_;
}

}  // namespace mumoe::data

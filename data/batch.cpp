#include "data/batch.h"

#include <algorithm>

#include "base/error.h"

namespace mumoe::data {
namespace {

template <class Int>
void fill(const TokenFile& file,
          std::span<const std::uint64_t> firsts,
          std::int64_t context,
          std::span<Int> out) {
  MUMOE_CHECK(context > 0, "context {}", context);
  const auto length = static_cast<std::size_t>(context) + 1;
  MUMOE_CHECK(out.size() == firsts.size() * length, "{}", out.size());
  for (std::size_t row = 0; row < firsts.size(); ++row) {
    file.copy(firsts[row], out.subspan(row * length, length));
  }
}

}  // namespace

void fill_windows(const TokenFile& file,
                  std::span<const std::uint64_t> firsts,
                  std::int64_t context,
                  std::span<std::int32_t> out) {
  fill(file, firsts, context, out);
}

void fill_windows(const TokenFile& file,
                  std::span<const std::uint64_t> firsts,
                  std::int64_t context,
                  std::span<std::int64_t> out) {
  fill(file, firsts, context, out);
}

Batch window_batch(const TokenFile& file,
                   std::span<const std::uint64_t> firsts,
                   std::int64_t context) {
  Batch batch;
  batch.samples = static_cast<std::int64_t>(firsts.size());
  batch.length = context + 1;
  batch.tokens.resize(static_cast<std::size_t>(batch.samples * batch.length));
  fill_windows(file, firsts, context, std::span(batch.tokens));
  return batch;
}

Batch sample_batch(const TokenFile& file,
                   const WindowSampler& sampler,
                   std::span<const std::uint64_t> samples) {
  std::vector<std::uint64_t> firsts(samples.size());
  std::transform(samples.begin(),
                 samples.end(),
                 firsts.begin(),
                 [&](std::uint64_t s) { return sampler.first_token(s); });
  return window_batch(file, firsts, sampler.context());
}

std::vector<std::uint64_t> evaluation_windows(const TokenFile& file,
                                              std::int64_t context,
                                              std::int64_t count) {
  return evaluation_windows(file.size(), context, count, file.path().string());
}

std::vector<std::uint64_t> evaluation_windows(std::uint64_t tokens,
                                              std::int64_t context,
                                              std::int64_t count,
                                              const std::string& what) {
  require(count > 0, "{} evaluation windows: expected at least 1", count);
  require_window(tokens, context, what);
  const auto length = static_cast<std::uint64_t>(context);
  const std::uint64_t fitting = (tokens - 1) / length;
  std::vector<std::uint64_t> firsts(
      std::min(static_cast<std::uint64_t>(count), fitting));
  for (std::uint64_t i = 0; i < firsts.size(); ++i) {
    firsts[i] = i * fitting / firsts.size() * length;
  }
  return firsts;
}

}  // namespace mumoe::data

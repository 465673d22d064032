#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/sampler.h"
#include "data/text/token_file.h"

namespace mumoe::data {

/// Token windows, row-major [samples, length], length = context + 1: inputs are
/// columns [0, context), targets columns [1, context + 1).
struct Batch {
  std::int64_t samples = 0;
  std::int64_t length = 0;
  std::vector<std::int32_t> tokens;
};

/// Fills `out`, row-major [firsts.size(), context + 1], with the windows that
/// start at `firsts`. Throws `InputError` when one reaches beyond the file.
void fill_windows(const TokenFile& file,
                  std::span<const std::uint64_t> firsts,
                  std::int64_t context,
                  std::span<std::int32_t> out);
void fill_windows(const TokenFile& file,
                  std::span<const std::uint64_t> firsts,
                  std::int64_t context,
                  std::span<std::int64_t> out);

/// The windows that start at `firsts`.
Batch window_batch(const TokenFile& file,
                   std::span<const std::uint64_t> firsts,
                   std::int64_t context);

/// The windows of global samples `samples`, in that order.
Batch sample_batch(const TokenFile& file,
                   const WindowSampler& sampler,
                   std::span<const std::uint64_t> samples);

/// Where the windows start on which a model is evaluated: `count` of them
/// spread evenly over `tokens` tokens, no token a target twice, the same at
/// every evaluation; all there are when fewer than `count` fit. Throws
/// `InputError` unless one fits (`require_window`) and `count` > 0.
std::vector<std::uint64_t> evaluation_windows(std::uint64_t tokens,
                                              std::int64_t context,
                                              std::int64_t count,
                                              const std::string& what = {});
/// Over the tokens of `file`, which the error names.
std::vector<std::uint64_t> evaluation_windows(const TokenFile& file,
                                              std::int64_t context,
                                              std::int64_t count);

}  // namespace mumoe::data

#pragma once

#include <cstdint>
#include <span>

#include "data/order.h"

// What a run says of the samples that it took, so that it can be checked: 64
// bits a step, the same for every layout of ranks, and chained.

namespace mumoe::data {

/// What samples `numbers` of a run, taken as `indices`, add to the digest of
/// their step: a sum modulo 2^64, so that it is the same whoever takes which.
std::uint64_t digest_of(std::span<const std::uint64_t> numbers,
                        std::span<const std::uint64_t> indices);

/// The digest of a step that takes `count` samples from number `first` on, in
/// `order`.
std::uint64_t expected_digest(const SampleOrder& order,
                              std::uint64_t first,
                              std::uint64_t count);

/// The chain after a step of digest `digest`; it begins with 0. Steps that are
/// left out, made twice or exchanged give another one.
std::uint64_t chained(std::uint64_t chain, std::uint64_t digest);

}  // namespace mumoe::data

#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>

#include "dist/communicator.h"
#include "run/run_state.h"

// What ranks say to each other of the samples of a step, and what a resumed run
// holds against it. data/sample_chain.h has the arithmetic.

namespace mumoe::train {

/// Numbers whose sums over all ranks `agreed_digest` takes: the digest of what
/// a rank took, in halves that doubles hold exactly, those of the first ranks
/// of tp groups apart from the others'.
using DigestParts = std::array<double, 4>;
DigestParts digest_parts(std::uint64_t digest, int tp_rank);

/// What all ranks took in a step.
struct AgreedDigest {
  std::uint64_t digest = 0;
  /// Whether ranks of a tp group, which work on the same samples, took the
  /// same.
  bool same_over_tp = true;
};

/// From the sums over all ranks, of which a tp group has `tp`; at most 2^21
/// ranks.
AgreedDigest agreed_digest(std::span<const double> sums, int tp);

/// Throws `InputError`, a line that names `checkpoint`, unless every rank took
/// in step `step` the samples that it promised.
void require_promised(const AgreedDigest& taken,
                      std::uint64_t promised,
                      std::int64_t step,
                      const std::filesystem::path& checkpoint);

/// Throws `InputError` on all ranks where metrics.jsonl in `folder`, which rank
/// 0 reads, says something else of the samples up to `state` than the
/// checkpoint that it is from. Collective over `world`.
void require_same_history(const std::filesystem::path& folder,
                          const run::RunState& state,
                          dist::Communicator& world);

}  // namespace mumoe::train

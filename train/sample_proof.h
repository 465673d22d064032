#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>

#include "dist/communicator.h"
#include "run/checkpoint.h"

// What ranks say to each other of the samples of a step, and what a resumed run
// holds against it. data/sample_chain.h has the arithmetic.

namespace mumoe::train {

/// Numbers whose sums over all ranks `agreed_digest` takes: the digest of what
/// a rank took, in halves that doubles hold exactly. Of a tp group, which works
/// on the same samples, the first rank speaks.
using DigestParts = std::array<double, 2>;
DigestParts digest_parts(std::uint64_t digest, int tp_rank);

/// The digest of the step, from the sums over all ranks; at most 2^21 of them.
std::uint64_t agreed_digest(std::span<const double> sums);

/// Throws `InputError`, a line that names `checkpoint`, unless step `step` took
/// the samples that it promised.
void require_promised(std::uint64_t digest,
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

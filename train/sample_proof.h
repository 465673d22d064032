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
/// a rank took, in halves that doubles hold exactly.
using DigestParts = std::array<double, 4>;
DigestParts digest_parts(std::uint64_t digest, int tp_rank);

/// The digest of the step, from the sums over dp × `tp_size` ranks; at most
/// 2^21 of them. Throws `Error` where ranks of a tp group, which work on the
/// same samples, have not had the same.
std::uint64_t agreed_digest(std::span<const double> sums, int tp_size);

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

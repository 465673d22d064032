#include "train/sample_proof.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "train/metrics.h"

namespace mumoe::train {
namespace {

constexpr int kHalf = 32;

/// Modulo 2^64.
std::uint64_t joined(double low, double high) {
  return static_cast<std::uint64_t>(low) +
         (static_cast<std::uint64_t>(high) << kHalf);
}

}  // namespace

DigestParts digest_parts(std::uint64_t digest, int tp_rank) {
  const auto low = static_cast<double>(digest & 0xffffffffu);
  const auto high = static_cast<double>(digest >> kHalf);
  if (tp_rank == 0) return {low, high, 0, 0};
  return {0, 0, low, high};
}

AgreedDigest agreed_digest(std::span<const double> sums, int tp) {
  const std::uint64_t first = joined(sums[0], sums[1]);
  const std::uint64_t others = joined(sums[2], sums[3]);
  return {first, others == first * static_cast<std::uint64_t>(tp - 1)};
}

void require_promised(const AgreedDigest& taken,
                      std::uint64_t promised,
                      std::int64_t step,
                      const std::filesystem::path& checkpoint) {
  require(taken.digest == promised,
          "{}: step {} took samples of digest {:016x}, expected {:016x}, those "
          "that come next: other data, or a fault in their order; stopped "
          "before the weights changed",
          checkpoint.string(),
          step,
          taken.digest,
          promised);
  require(taken.same_over_tp,
          "{}: in step {} ranks of a tensor-parallel group took different "
          "samples; expected those of digest {:016x} on all; stopped before "
          "the weights changed",
          checkpoint.string(),
          step,
          promised);
}

void require_same_history(const std::filesystem::path& folder,
                          const run::RunState& state,
                          dist::Communicator& world) {
  std::optional<std::uint64_t> found;
  if (world.rank() == 0) found = samples_hash_at(folder, state.step);
  const at::Tensor said = at::zeros({2}, at::kLong);
  if (found) {
    said[0] = 1;
    said[1] = static_cast<std::int64_t>(*found);
  }
  world.broadcast(said, 0);
  if (said[0].item<std::int64_t>() == 0 || !state.taken) return;
  const auto hash = static_cast<std::uint64_t>(said[1].item<std::int64_t>());
  require(hash == state.taken->chain,
          "{}: samples_hash of step {} is {:016x}, but its checkpoint has "
          "{:016x}: these are not of one run; stopped before the weights "
          "changed",
          (folder / "metrics.jsonl").string(),
          state.step,
          hash,
          state.taken->chain);
}

}  // namespace mumoe::train

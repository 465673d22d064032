#include "train/sample_proof.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "train/metrics.h"

namespace mumoe::train {
namespace {

constexpr int kHalf = 32;

}  // namespace

DigestParts digest_parts(std::uint64_t digest, int tp_rank) {
  if (tp_rank != 0) return {0, 0};
  return {static_cast<double>(digest & 0xffffffffu),
          static_cast<double>(digest >> kHalf)};
}

std::uint64_t agreed_digest(std::span<const double> sums) {
  return static_cast<std::uint64_t>(sums[0]) +
         (static_cast<std::uint64_t>(sums[1]) << kHalf);
}

void require_promised(std::uint64_t digest,
                      std::uint64_t promised,
                      std::int64_t step,
                      const std::filesystem::path& checkpoint) {
  require(digest == promised,
          "{}: step {} took samples of digest {:016x}, expected {:016x}, those "
          "that come next: other data, or a fault in their order; stopped "
          "before the weights changed",
          checkpoint.string(),
          step,
          digest,
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

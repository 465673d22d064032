#include "dist/params/replica_check.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"

namespace mumoe::dist {
namespace {

// What one rank sends: its place, and of each parameter a pair of hashes.
constexpr std::int64_t kDp = 0, kTp = 1, kHashes = 2;
constexpr std::int64_t kWeights = 0, kMaster = 1;

std::int64_t hash(const at::Tensor& tensor) {
  const at::Tensor here = tensor.detach().cpu().contiguous();
  return static_cast<std::int64_t>(XXH3_64bits(here.data_ptr(), here.nbytes()));
}

/// [kHashes + 2 · parameters] of this rank. A master that is cut over the ranks
/// or is the weights themselves has no hash of its own.
at::Tensor hashes(const FlatBuckets& buckets, const ProcessMesh& mesh) {
  buckets.await();  // with ZeRO, weights are on their way after an update
  const auto parameters =
      static_cast<std::int64_t>(buckets.registry().parameters().size());
  const at::Tensor mine = at::zeros({kHashes + 2 * parameters}, at::kLong);
  auto out = mine.accessor<std::int64_t, 1>();
  out[kDp] = mesh.dp().rank();
  out[kTp] = mesh.tp().rank();
  for (const Bucket& bucket : buckets.buckets()) {
    const bool own_master = bucket.master.numel() == bucket.compute.numel() &&
                            !bucket.master.is_alias_of(bucket.compute);
    for (const BucketEntry& entry : bucket.entries) {
      const auto at = kHashes + 2 * static_cast<std::int64_t>(entry.parameter);
      out[at + kWeights] = hash(buckets.parameter(entry).value);
      if (own_master) {
        out[at + kMaster] = hash(buckets.view(bucket.master, entry));
      }
    }
  }
  return mine;
}

/// "1 (dp 1 tp 0), 3 (dp 1 tp 1)", of many the first.
std::string name_ranks(const std::vector<std::int64_t>& ranks,
                       const at::TensorAccessor<std::int64_t, 2>& all) {
  constexpr std::size_t kNamed = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(ranks.size(), kNamed); ++i) {
    const auto rank = ranks[i];
    text += fmt::format("{}{} (dp {} tp {})",
                        i == 0 ? "" : ", ",
                        rank,
                        all[rank][kDp],
                        all[rank][kTp]);
  }
  if (ranks.size() > kNamed) {
    text += fmt::format(" and {} more", ranks.size() - kNamed);
  }
  return text;
}

/// The ranks among `ranks` that differ in column `at` from most, or from the
/// first where none are most.
struct Difference {
  std::vector<std::int64_t> agree;
  std::vector<std::int64_t> differ;
};
Difference compare(const std::vector<std::int64_t>& ranks,
                   const at::TensorAccessor<std::int64_t, 2>& all,
                   std::int64_t at) {
  std::map<std::int64_t, std::size_t> votes;
  for (const auto rank : ranks) ++votes[all[rank][at]];
  std::int64_t best = all[ranks.front()][at];
  for (const auto& [value, count] : votes) {
    if (count > votes[best]) best = value;
  }
  Difference found;
  for (const auto rank : ranks) {
    (all[rank][at] == best ? found.agree : found.differ).push_back(rank);
  }
  return found;
}

}  // namespace

void ReplicaCheck::run(std::int64_t step) const {
  Communicator& world = mesh_.control();
  const at::Tensor mine = hashes(buckets_, mesh_);
  const at::Tensor gathered =
      at::empty({world.size(), mine.numel()}, at::kLong);
  world.all_gather(mine, gathered);
  const auto all = gathered.accessor<std::int64_t, 2>();

  std::vector<std::int64_t> everybody;
  std::map<std::int64_t, std::vector<std::int64_t>> slices;  // by tp rank
  for (std::int64_t rank = 0; rank < world.size(); ++rank) {
    everybody.push_back(rank);
    slices[all[rank][kTp]].push_back(rank);
  }
  const auto check = [&](const std::vector<std::int64_t>& ranks,
                         std::int64_t at,
                         const std::string& what) {
    const Difference found = compare(ranks, all, at);
    if (found.differ.empty()) return;
    fail<CommunicationError>(
        "step {}: replicas of {} differ: world rank(s) {} from rank(s) {}",
        step,
        what,
        name_ranks(found.differ, all),
        name_ranks(found.agree, all));
  };
  // All ranks see the same numbers, so all find the same.
  const auto& parameters = buckets_.registry().parameters();
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    for (const auto kind : {kWeights, kMaster}) {
      const auto at = kHashes + 2 * static_cast<std::int64_t>(p) + kind;
      const std::string what =
          fmt::format("{}{}",
                      kind == kMaster ? "the master of " : "",
                      parameters[p].name);
      if (!parameters[p].placement.is_cut()) {
        check(everybody, at, what);
        continue;
      }
      for (const auto& [tp, ranks] : slices) check(ranks, at, what);
    }
  }
}

}  // namespace mumoe::dist

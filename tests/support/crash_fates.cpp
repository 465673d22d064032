#include "tests/support/crash_fates.h"

#include <array>
#include <utility>

namespace mumoe::testing {
namespace {

using Fates = std::vector<Fate>;

/// Which changes are kept, of those that are not synced.
std::vector<Fates> subsets_of(std::size_t changes,
                              std::size_t exhaustive,
                              int samples,
                              std::mt19937_64& random) {
  std::vector<Fates> subsets;
  if (changes <= exhaustive) {
    for (std::size_t mask = 0; mask < std::size_t{1} << changes; ++mask) {
      Fates fates(changes);
      for (std::size_t i = 0; i < changes; ++i) {
        fates[i] = (mask >> i & 1) == 0 ? Fate::kept : Fate::lost;
      }
      subsets.push_back(std::move(fates));
    }
    return subsets;
  }
  subsets = {Fates(changes, Fate::kept), Fates(changes, Fate::lost)};
  for (int i = 0; i < samples; ++i) {
    // Half of them, few of them, all but a few.
    const std::uint64_t of_8 = i % 4 == 0 ? 1 : i % 4 == 1 ? 7 : 4;
    Fates fates(changes);
    for (Fate& fate : fates) {
      fate = random() % 8 < of_8 ? Fate::kept : Fate::lost;
    }
    subsets.push_back(std::move(fates));
  }
  return subsets;
}

}  // namespace

std::vector<Fates> fates_of(const std::vector<bool>& writes,
                            std::size_t exhaustive,
                            int samples,
                            std::mt19937_64& random) {
  auto all = subsets_of(writes.size(), exhaustive, samples, random);
  const std::size_t subsets = all.size();
  for (std::size_t s = 0; s < subsets; ++s) {
    Fates torn = all[s];
    for (std::size_t i = 0; i < torn.size(); ++i) {
      if (!writes[i] || torn[i] == Fate::lost) continue;
      torn[i] = std::array{Fate::torn, Fate::zeros, Fate::kept}[random() % 3];
    }
    if (torn != all[s]) all.push_back(std::move(torn));
  }
  for (std::size_t i = 0; i < writes.size(); ++i) {
    if (!writes[i]) continue;
    for (const Fate fate : {Fate::torn, Fate::zeros}) {
      Fates one(writes.size(), Fate::kept);
      one[i] = fate;
      all.push_back(std::move(one));
    }
  }
  return all;
}

}  // namespace mumoe::testing

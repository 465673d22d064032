#include "data/sequence.h"

#include <utility>
#include <vector>

namespace mumoe::data {

HostBatch OrderedSamples::make(std::span<const std::uint64_t> numbers) const {
  std::vector<std::uint64_t> indices;
  indices.reserve(numbers.size());
  for (const std::uint64_t number : numbers) {
    indices.push_back(order_.index(number));
  }
  HostBatch batch = samples_.make(indices);
  batch.numbers.assign(numbers.begin(), numbers.end());
  batch.indices = std::move(indices);
  return batch;
}

}  // namespace mumoe::data

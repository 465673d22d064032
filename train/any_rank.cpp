#include "train/any_rank.h"

#include <ATen/ATen.h>

namespace mumoe::train {

bool any_rank(bool here, dist::Communicator& group) {
  return AnyRank(here, group).answer();
}

AnyRank::AnyRank(bool here, dist::Communicator& group)
    : found_(at::full({1}, here ? 1 : 0, at::kLong)),
      work_(group.all_reduce_async(found_, dist::ReduceOp::max)) {}

bool AnyRank::answer() {
  work_.wait();
  return found_.item<std::int64_t>() > 0;
}

}  // namespace mumoe::train

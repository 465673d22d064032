#pragma once

#include "dist/communicator.h"

namespace mumoe::train {

/// Whether `here` holds on any rank of `group`. The same on all. Collective.
bool any_rank(bool here, dist::Communicator& group);

/// The same question, answered while something else is done.
class AnyRank {
 public:
  /// Asks. Collective over `group`.
  AnyRank(bool here, dist::Communicator& group);
  /// Waits for the answer.
  bool answer();

 private:
  at::Tensor found_;
  dist::Work work_;
};

}  // namespace mumoe::train

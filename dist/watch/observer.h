#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string_view>

#include "dist/op.h"
#include "dist/work.h"

namespace mumoe::dist {

class Communicator;

/// One operation of one communicator, as a rank began it.
struct Collective {
  Op op = Op::barrier;
  /// Counts the operations of this communicator on this rank, from 1.
  std::int64_t sequence = 0;
  /// Of the larger of the two tensors; 0 for a barrier.
  std::int64_t elements = 0;
  std::int64_t bytes = 0;
  at::ScalarType dtype = at::kFloat;
  /// Of all_reduce and reduce_scatter.
  ReduceOp reduce = ReduceOp::sum;
  /// Of broadcast; else −1.
  int root = -1;
};

/// Sees what a run is doing: its phases and every operation of the
/// communicators it watches (`Communicator::observe`). Watchdog, fingerprint
/// check, trace and link model are observers. Groups of one rank have no
/// operations.
///
/// Thread safety: called by the thread that begins the operation.
class Observer {
 public:
  virtual ~Observer() = default;
  /// Whether it asks for `Work::device_times`.
  virtual bool wants_device_times() const { return false; }
  /// The run enters `phase`: start, data, load, forward, backward, check,
  /// update, evaluation, checkpoint, ...
  virtual void phase(std::string_view) {}
  /// Before the backend starts the operation. What it throws, the caller of the
  /// operation gets; nothing has then been sent.
  virtual void begin(const Communicator&, const Collective&) {}
  /// After the backend has started it; the caller waits for what this returns.
  virtual Work started(const Communicator&, const Collective&, Work work) {
    return work;
  }
};

}  // namespace mumoe::dist

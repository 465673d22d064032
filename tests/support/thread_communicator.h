#pragma once

#include <functional>
#include <memory>
#include <string>

#include "dist/communicator.h"

namespace mumoe::dist {

/// N ranks as N threads of one process, for tests and ThreadSanitizer.
///
/// The rank that is last to post an operation computes it for all, so that
/// posting never blocks; the others wait on a condition variable, each until
/// its communicator's deadline. Reductions go in rank order (bf16 accumulates
/// in fp32), hence every run gives the same bits. Tensors live on the CPU.
///
/// Errors: a rank whose operation differs from the others' in kind, reduction,
/// root, element count or dtype fails that operation on all ranks, with a text
/// that has both; so does a rank that has returned while others wait for it.
/// After `abort` every wait that is not yet satisfied throws.
///
/// Thread safety: a communicator belongs to one thread at a time; the world
/// itself may be used by all threads.
class ThreadWorld {
 public:
  struct State;

  explicit ThreadWorld(int ranks);

  int size() const;
  /// The communicator of one rank; call once per rank. It may outlive `this`.
  std::unique_ptr<Communicator> communicator(int rank);
  /// Ends waiting operations of all groups with `CommunicationError("...
  /// aborted because rank r failed: text")`. Only the first call counts.
  void abort(int rank, const std::string& text);
  /// Says that `rank` posts nothing more: whoever waits for it fails.
  void leave(int rank);

  /// Runs `body` once per rank, each in its own thread, and joins them. When
  /// ranks throw, the others are aborted and the error of the lowest rank
  /// among those that failed by themselves is thrown here.
  static void run(int ranks, const std::function<void(Communicator&)>& body);

 private:
  std::shared_ptr<State> state_;
};

}  // namespace mumoe::dist

#pragma once

#include <nccl.h>

#include <atomic>
#include <string>
#include <vector>

// NCCL without a GPU: the functions that dist/ uses, on streams of the fake
// CUDA runtime, between the ranks of one machine, be they processes or threads.
// Linked into a test in place of the real one.
//
// As the real one, and stricter where that finds faults: communicators are
// non-blocking and refuse calls while they are in progress; the child of a
// split has no handle before its parent is ready; min and max lose NaNs; bf16
// sums round at every rank; freeing an aborted communicator waits for the
// device. What ranks call differently is an error, not a hang.

namespace mumoe::fakes {

/// What the next calls find, and what the past ones did. One for the process;
/// `reset` before a test.
struct FakeNccl {
  /// Call `call` of `function`, from 1, returns `result`.
  std::string failing;
  int failing_call = 1;
  ncclResult_t result = ncclSystemError;
  int version = NCCL_VERSION_CODE;

  /// How often a communicator must be asked before an operation, or its own
  /// making, has been started: until then it is in progress.
  int polls = 0;
  /// Making a communicator, by id or by split, never ends.
  bool stuck_open = false;
  bool stuck_finalize = false;
  std::atomic<bool> stuck_abort = false;
  /// Asking a communicator for its error never returns; `asking`: how many
  /// do.
  std::atomic<bool> stuck_ask = false;
  std::atomic<int> asking = 0;
  /// From this operation on, from 1, none ends; 0: all do.
  int stuck_operation = 0;
  /// With this operation on, communicators report `async_result`.
  int async_operation = 0;
  ncclResult_t async_result = ncclRemoteError;

  /// Names of the functions called, in order, but for those that only ask.
  std::vector<std::string> log() const;
  /// What no caller may do: use of a freed communicator, a call while in
  /// progress, an end without ncclCommFinalize.
  std::vector<std::string> misuse() const;
  /// Forgets all of the above.
  void reset();
};
FakeNccl& fake_nccl();

}  // namespace mumoe::fakes

#pragma once

#include <nccl.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "dist/nccl/cuda_clock.h"
#include "dist/nccl/cuda_handles.h"
#include "dist/nccl/nccl_check.h"
#include "dist/nccl/nccl_comm.h"

namespace mumoe::dist {

/// What all NCCL communicators of one process share: a GPU, the lock under
/// which NCCL is called, the order in which it starts operations, and their
/// end.
///
/// Each communicator has a stream, so that what the blocks of a model exchange
/// over tp does not queue behind buckets of gradients on their way over dp. Two
/// communicators whose operations a GPU may start in either order can deadlock:
/// each holds the place that the other needs to run on some rank. NCCL is told
/// (NCCL_LAUNCH_ORDER_IMPLICIT = 1) to start them in the order of their calls,
/// which is the same on all ranks.
///
/// Communicators are non-blocking: NCCL makes a thread for every call, or group
/// of calls, which queues it (groupLaunchNonBlocking of its group.cc), and
/// `run` looks until that has ended or the deadline has passed. This costs the
/// calling thread some tens of microseconds an operation, which a blocking
/// communicator would save; but the end of a group that opens connections to a
/// rank that is gone would then never come back (pytorch/pytorch issue 113281),
/// and no deadline would hold where there is no watchdog to abort it. No call
/// of NCCL should block here, and the lock is never held for long; should one,
/// `abort` goes ahead without the lock.
///
/// Every thread that calls keeps the context's GPU as its current one.
///
/// Thread safety: full.
class NcclContext {
 public:
  struct Limits {
    /// How long the end of a communicator may wait for the other ranks.
    std::chrono::milliseconds close{60'000};
    /// How long an abort may take that an error here brings about.
    std::chrono::milliseconds abort{10'000};
    /// How long `run` looks without a pause whether NCCL has done with a call.
    std::chrono::microseconds spin{500};
  };

  /// Errors: `InputError` when the environment wants another order of starts,
  /// or NCCL is too old for it (before 2.26);
  /// `CommunicationError` when `device` cannot be used.
  explicit NcclContext(int device) : NcclContext(device, Limits()) {}
  NcclContext(int device, Limits limits);
  ~NcclContext();
  NcclContext(const NcclContext&) = delete;
  NcclContext& operator=(const NcclContext&) = delete;

  int device() const { return device_; }
  const Limits& limits() const { return limits_; }

  /// A new stream of the device. It lasts as long as the context: tensors that
  /// were used on it may outlive their communicator.
  cudaStream_t make_stream(const NcclCall& call);
  /// Of the device.
  CudaClock& clock() { return clock_; }
  /// Makes a communicator: `start` asks NCCL for it, and this waits until it
  /// is ready, and before it `parent` (null: none). When that fails or takes
  /// too long, it aborts all. Null when NCCL makes none for this rank.
  ncclComm_t open(ncclComm_t parent,
                  const std::function<ncclResult_t(ncclComm_t*)>& start,
                  std::string_view expression,
                  std::string axis,
                  const NcclCall& call);
  /// The end of a communicator when all is well: waits until its operations
  /// have ended everywhere, then frees it. After `abort`: nothing is left to
  /// be done.
  void close(ncclComm_t comm, const NcclCall& call);

  /// Runs `operation`, of the group's communicator `comm`; within `group` it
  /// is only collected. Throws `CommunicationError` when NCCL refuses it or,
  /// after the deadline, has not taken it.
  void run(ncclComm_t comm,
           const std::function<ncclResult_t()>& operation,
           std::string_view expression,
           const NcclCall& call);
  /// What `body` runs, of any communicators, starts as one operation. `body`
  /// may not call `open` or `close`.
  void group(const std::function<void()>& body, const NcclCall& call);

  /// Throws `CommunicationError` when `comm` has failed by itself, or all were
  /// aborted.
  void check(ncclComm_t comm, const NcclCall& call) const;
  /// The first communicator's error that NCCL has found by itself, as a text;
  /// empty while all are well, and after `abort`.
  std::string async_error() const;

  /// Ends what is under way, and all communicators, because of `reason`: every
  /// later call throws with it. All are marked within one group before the
  /// first is freed: freeing waits for the device, which may be held by an
  /// operation of another one. False: NCCL has not come back within `limit`;
  /// the thread that waits for it is left behind. Only the first call counts;
  /// others wait for its end.
  bool abort(const std::string& reason, std::chrono::milliseconds limit);
  bool aborted() const;

 private:
  struct State;

  int device_;
  Limits limits_;
  CudaClock clock_;
  std::mutex streams_mutex_;
  std::deque<CudaStream> streams_;  // none moves when another comes
  std::shared_ptr<State> state_;
};

}  // namespace mumoe::dist

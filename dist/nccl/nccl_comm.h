#pragma once

#include <driver_types.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "dist/op.h"

struct ncclComm;

namespace mumoe::dist {

class NcclContext;

/// What NCCL moves here.
enum class NcclType { bf16, fp32, fp64, int64 };
std::size_t size_of(NcclType type);

/// What an operation reads and writes.
struct NcclData {
  const void* in;
  void* out;
  std::size_t count;
  NcclType type;
};

/// On whose behalf NCCL is called, "rank 1 of 4 (axis dp), all_reduce #17,
/// phase backward", and how long that may take; zero: no deadline.
struct NcclCall {
  std::string what;
  std::chrono::milliseconds deadline{0};
};

/// One rank's end of a group of GPUs, without tensors: pointers to memory of
/// the device, counts in elements. An operation is queued on the group's stream
/// and runs there; nothing blocks the host but making and splitting a group
/// and, in the first operations of a group, opening connections.
///
/// Collective contract: that of `Communicator`. All communicators of a process
/// share a context.
///
/// Thread safety: full, but the order of operations is the callers' affair.
/// Errors: `CommunicationError` with whose call it was, the expression, and
/// NCCL's texts. Text of an error that comes later: `check`.
class NcclComm {
 public:
  /// What the ranks of a new group have in common: made by one, given to all.
  using Id = std::array<std::byte, 128>;
  static Id make_id(const NcclCall& call);
  /// Of the library in use, "2.28.3".
  static std::string version();

  /// Collective over the `size` ranks that have the same `id`.
  NcclComm(std::shared_ptr<NcclContext> context,
           const Id& id,
           int rank,
           int size,
           std::string axis,
           const NcclCall& call);
  /// Waits, for a limited time, until the group's operations have ended on all
  /// ranks. When that fails it says so in a line, and during stack unwinding at
  /// once, it aborts all communicators of the process.
  ~NcclComm();
  NcclComm(const NcclComm&) = delete;
  NcclComm& operator=(const NcclComm&) = delete;

  /// Collective: ranks that give the same `color` ≥ 0 form a group, ordered by
  /// (`key`, rank here). Null for a rank that gives `kNoGroup`.
  static constexpr int kNoGroup = -1;
  std::unique_ptr<NcclComm> split(int color,
                                  int key,
                                  std::string axis,
                                  const NcclCall& call);

  int rank() const { return rank_; }
  int size() const { return size_; }
  const std::shared_ptr<NcclContext>& context() const { return context_; }
  /// Where its operations run, in the order of their calls.
  cudaStream_t stream() const { return stream_; }

  /// `out` [count] becomes the reduction of all ranks' `in`; they may be one.
  void all_reduce(const NcclData& data, ReduceOp op, const NcclCall& call);
  /// `out` [size · count] becomes all ranks' `in` [count], in rank order.
  void all_gather(const NcclData& data, const NcclCall& call);
  /// `out` [count] becomes this rank's part of the reduction of all ranks'
  /// `in` [size · count].
  void reduce_scatter(const NcclData& data, ReduceOp op, const NcclCall& call);
  /// Part r of `out` [size · count] becomes part `rank` of rank r's `in`.
  void all_to_all(const NcclData& data, const NcclCall& call);
  /// Every rank's `out` [count] becomes the `in` of rank `root`; they may be
  /// one.
  void broadcast(const NcclData& data, int root, const NcclCall& call);
  /// Ends when all ranks have queued it. `word`: 8 bytes of the
  /// device, of no meaning.
  void barrier(void* word, const NcclCall& call);

  /// Throws when the group has failed by itself or was aborted.
  void check(const NcclCall& call) const;

 private:
  NcclComm(std::shared_ptr<NcclContext> context,
           ncclComm* comm,
           std::string axis,
           const NcclCall& call);

  std::shared_ptr<NcclContext> context_;
  cudaStream_t stream_ = nullptr;
  ncclComm* comm_ = nullptr;
  int rank_ = 0;
  int size_ = 1;
  std::string axis_;
};

}  // namespace mumoe::dist

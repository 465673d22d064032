#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dist/op.h"
#include "dist/watch/observer.h"
#include "dist/work.h"

namespace mumoe::dist {

/// Calls and payload bytes of one operation on this rank since construction.
/// The payload is the larger of the two tensors, once, whatever the algorithm.
struct Traffic {
  std::int64_t calls = 0;
  std::int64_t elements = 0;
  std::int64_t bytes = 0;
};

/// A group of ranks that act together along one mesh axis.
///
/// Collective contract: every rank of the group calls the same operations in
/// the same order with the same shapes and dtypes, and ranks that share several
/// groups those of all of them in one order. Tensors are contiguous, of dtype
/// bf16, fp32, fp64 or int64, and live on the backend's device. Async
/// operations of one communicator start in call order; a tensor given to one
/// must not be read or written before its `Work` has been waited for.
///
/// A group of one rank is an identity: nothing moves and nothing is counted,
/// so that model code never asks for the size.
///
/// Thread safety: one thread at a time per communicator.
/// Errors: `InternalError` for a tensor that breaks the contract (the text has
/// axis, rank, operation, found, expected); `CommunicationError` from `wait`
/// and from the blocking forms.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// Which mesh axis this is, for messages: "world", "dp", "tp", "all".
  const std::string& axis() const { return axis_; }

  /// In place: every rank ends with the reduction over all ranks.
  void all_reduce(const at::Tensor& tensor, ReduceOp op = ReduceOp::sum) {
    all_reduce_async(tensor, op).wait();
  }
  Work all_reduce_async(const at::Tensor& tensor, ReduceOp op = ReduceOp::sum);

  /// `whole` [size · n] becomes the shards [n] of all ranks, in rank order.
  /// `shard` may be this rank's part of `whole`.
  void all_gather(const at::Tensor& shard, const at::Tensor& whole) {
    all_gather_async(shard, whole).wait();
  }
  Work all_gather_async(const at::Tensor& shard, const at::Tensor& whole);

  /// `shard` [n] becomes this rank's part of the reduction of all ranks'
  /// `whole` [size · n]. `whole` may be overwritten only where `shard` is a
  /// part of it.
  void reduce_scatter(const at::Tensor& whole,
                      const at::Tensor& shard,
                      ReduceOp op = ReduceOp::sum) {
    reduce_scatter_async(whole, shard, op).wait();
  }
  Work reduce_scatter_async(const at::Tensor& whole,
                            const at::Tensor& shard,
                            ReduceOp op = ReduceOp::sum);

  /// Part r of `out` [size · n] becomes part `rank` of rank r's `in`
  /// [size · n]. The tensors do not overlap.
  void all_to_all(const at::Tensor& in, const at::Tensor& out) {
    all_to_all_async(in, out).wait();
  }
  Work all_to_all_async(const at::Tensor& in, const at::Tensor& out);

  /// Every rank's tensor becomes that of rank `root`.
  void broadcast(const at::Tensor& tensor, int root) {
    broadcast_async(tensor, root).wait();
  }
  Work broadcast_async(const at::Tensor& tensor, int root);

  /// Returns when every rank has called it.
  void barrier();

  /// Collective: ranks that give the same `color` form a new group, ordered by
  /// (`key`, rank here).
  std::unique_ptr<Communicator> split(int color, int key, std::string axis);

  Traffic traffic(Op op) const { return traffic_[static_cast<int>(op)]; }
  /// Bytes that moved for this rank so far, counted as all-reduced ones: what
  /// was gathered, scattered or exchanged counts half.
  std::int64_t total_bytes() const;

  /// From now on `observer` sees every operation of this communicator, after
  /// those that watch it already. It must outlive the last operation, or be
  /// taken off before. Groups from `split` are not watched by their parent's
  /// observers.
  void observe(Observer& observer) { observers_.push_back(&observer); }
  void unobserve(const Observer& observer) {
    std::erase(observers_, &observer);
  }

  /// How long `wait` lets one operation take, and what this rank is doing,
  /// for the message when it takes longer. Zero: no deadline. A new group from
  /// `split` starts with the values of its parent.
  void set_deadline(std::chrono::milliseconds deadline) {
    deadline_ = deadline;
  }
  std::chrono::milliseconds deadline() const { return deadline_; }
  void set_phase(std::string_view phase) { phase_ = phase; }
  const std::string& phase() const { return phase_; }

  /// "rank 1 of 4 (axis dp), WHAT, phase backward": the head of every message
  /// about the group.
  std::string describe(std::string_view what) const;
  /// The same of operation `sequence`: "all_reduce #17".
  std::string describe(Op op, std::int64_t sequence) const;

 protected:
  Communicator(int rank, int size, std::string axis)
      : rank_(rank), size_(size), axis_(std::move(axis)) {}

  // The backend's part. Arguments have been checked, the group has more than
  // one rank, and no tensor is empty. `do_split` is called for groups of one
  // rank too.
  virtual at::Device device() const = 0;
  virtual Work do_all_reduce(const at::Tensor& tensor, ReduceOp op) = 0;
  virtual Work do_all_gather(const at::Tensor& shard,
                             const at::Tensor& whole) = 0;
  virtual Work do_reduce_scatter(const at::Tensor& whole,
                                 const at::Tensor& shard,
                                 ReduceOp op) = 0;
  virtual Work do_all_to_all(const at::Tensor& in, const at::Tensor& out) = 0;
  virtual Work do_broadcast(const at::Tensor& tensor, int root) = 0;
  virtual Work do_barrier() = 0;
  virtual std::unique_ptr<Communicator> do_split(int color,
                                                 int key,
                                                 std::string axis) = 0;

  /// Of the operation that was begun last.
  std::string describe(Op op) const { return describe(op, sequence_); }
  /// Operations begun so far on this rank, all kinds together.
  std::int64_t sequence() const { return sequence_; }
  /// Whether an observer asks for times on the device.
  bool timed() const;

 private:
  void check(Op op, const at::Tensor& tensor) const;
  void check_pair(Op op,
                  const at::Tensor& part,
                  const at::Tensor& whole,
                  std::int64_t parts) const;
  Collective count(Op op, const at::Tensor& payload);
  template <class Start>
  Work run(const Collective& collective, Start start);

  int rank_;
  int size_;
  std::string axis_;
  std::string phase_ = "start";
  std::chrono::milliseconds deadline_{0};
  std::array<Traffic, kOps> traffic_{};
  std::int64_t sequence_ = 0;
  std::vector<Observer*> observers_;
};

}  // namespace mumoe::dist

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/mpi/mpi_context.h"

namespace mumoe::dist {

/// reduce_scatter and all_reduce from messages between pairs of ranks.
///
/// The data is cut into segments and a segment into one interval per rank.
/// Every rank sends its part of interval r to rank r, which reduces what it
/// receives in rank order and, for all_reduce, sends the result to all. While
/// results of one segment travel, so do the intervals of the next. Each byte
/// travels once (twice for all_reduce), which is the least there is; staging
/// memory is one segment and stays in the cache; bf16 is rounded once; and the
/// bits are the same, whatever the MPI library does.
///
/// Segments depend on the progress of each rank, so collective calls of MPI
/// would meet in different orders when several operations are under way.
/// Messages carry the operation's number in their tags instead.
///
/// Thread safety: made by the caller, then used on the MPI thread alone.
class MpiPeerReduction {
 public:
  /// all_reduce of `whole` or, with `shard`, reduce_scatter of it. `sequence`:
  /// the number of the operation, equal on all ranks. `max_count`: most
  /// elements in a segment.
  MpiPeerReduction(std::shared_ptr<const MpiGroup> group,
                   int rank,
                   int ranks,
                   std::int64_t sequence,
                   ReduceOp op,
                   std::int64_t max_count,
                   at::Tensor whole,
                   at::Tensor shard);

  /// What the MPI thread does.
  static std::vector<MpiTask::Step> steps(
      const std::shared_ptr<MpiPeerReduction>& self);

 private:
  struct Interval {
    std::int64_t begin;  // in `whole_`
    std::int64_t count;
  };
  struct Message {
    std::byte* data;
    std::int64_t count;
  };
  Interval interval(std::int64_t segment, int rank) const;
  Message part(std::int64_t segment, int rank) const;  // of `whole_`
  std::byte* row(int rank) const;                      // of the staging memory
  /// Receives `in(rank)` from, and sends `out(rank)` to, every other rank.
  template <class In, class Out>
  void exchange(int tag,
                In in,
                Out out,
                MpiTask::Requests& requests,
                const std::string& what);
  void scatter(std::int64_t segment,
               MpiTask::Requests& requests,
               const std::string& what);
  void reduce(std::int64_t segment);
  void gather(std::int64_t segment,
              MpiTask::Requests& requests,
              const std::string& what);

  std::shared_ptr<const MpiGroup> group_;
  int rank_;
  int ranks_;
  int tag_;
  ReduceOp op_;
  bool gathers_;
  at::Tensor whole_;
  at::Tensor result_;  // [own elements]; undefined: in place
  MPI_Datatype type_;
  std::int64_t elements_;     // all_reduce: all; reduce_scatter: of a shard
  std::int64_t segment_ = 0;  // how many of them a segment has
  std::int64_t row_bytes_ = 0;
  std::shared_ptr<std::byte[]> staging_;  // [ranks, row_bytes_]
};

}  // namespace mumoe::dist

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
/// bits are those of ThreadWorld, whatever the MPI library does.
///
/// Segments depend on the progress of each rank, so collective calls of MPI
/// would meet in different orders when several operations are under way.
/// Messages carry the operation's number in their tags instead.
///
/// Thread safety: made by the caller, then used on the MPI thread alone.
class MpiPeerReduction {
 public:
  /// `sequence`: the number of the operation, equal on all ranks. `max_count`:
  /// most elements in a segment.
  MpiPeerReduction(std::shared_ptr<const MpiGroup> group,
                   int rank,
                   int ranks,
                   std::int64_t sequence,
                   ReduceOp op,
                   std::int64_t max_count);

  /// Choose one.
  void all_reduce(const at::Tensor& tensor);
  void reduce_scatter(const at::Tensor& whole, const at::Tensor& shard);

  /// What the MPI thread does.
  static std::vector<MpiTask::Step> steps(
      const std::shared_ptr<MpiPeerReduction>& self);

 private:
  struct Interval {
    std::int64_t begin;  // in `whole_`
    std::int64_t count;
  };
  Interval interval(std::int64_t segment, int rank) const;
  void plan(std::int64_t elements, std::int64_t ranks_in_a_segment);
  std::byte* row(int rank) const;  // of the staging memory
  void scatter(std::int64_t segment,
               std::vector<MPI_Request>& requests,
               const std::string& what);
  void reduce(std::int64_t segment);
  void gather(std::int64_t segment,
              std::vector<MPI_Request>& requests,
              const std::string& what);

  std::shared_ptr<const MpiGroup> group_;
  int rank_;
  int ranks_;
  int tag_;
  ReduceOp op_;
  std::int64_t max_count_;
  bool gathers_ = false;
  at::Tensor whole_;
  at::Tensor result_;  // [own elements]; undefined: in place
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
  std::int64_t elements_ = 0;  // all_reduce: all; reduce_scatter: of a shard
  std::int64_t segment_ = 0;   // how many of them a segment has
  std::int64_t row_bytes_ = 0;
  std::shared_ptr<std::byte[]> staging_;  // [ranks, row_bytes_]
};

}  // namespace mumoe::dist

#include "dist/mpi/mpi_peer_reduction.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "dist/mpi/reduction.h"

namespace mumoe::dist {
namespace {

// What one rank sends to another at a time: large enough for the full speed of
// a network, small enough for the parts of some ranks to stay in the cache.
constexpr std::int64_t kIntervalBytes = 2 << 20;

// Operations under way at once are fewer; MPI promises tags up to 32767.
constexpr std::int64_t kTags = 16384;

std::byte* at_element(const at::Tensor& tensor, std::int64_t index) {
  return static_cast<std::byte*>(tensor.data_ptr()) +
         index * static_cast<std::int64_t>(tensor.element_size());
}

}  // namespace

MpiPeerReduction::MpiPeerReduction(std::shared_ptr<const MpiGroup> group,
                                   int rank,
                                   int ranks,
                                   std::int64_t sequence,
                                   ReduceOp op,
                                   std::int64_t max_count)
    : group_(std::move(group)),
      rank_(rank),
      ranks_(ranks),
      tag_(static_cast<int>(2 * (sequence % kTags))),
      op_(op),
      max_count_(max_count) {}

void MpiPeerReduction::all_reduce(const at::Tensor& tensor) {
  gathers_ = true;
  whole_ = tensor;
  plan(tensor.numel(), ranks_);
}

void MpiPeerReduction::reduce_scatter(const at::Tensor& whole,
                                      const at::Tensor& shard) {
  whole_ = whole;
  result_ = shard;
  const std::byte* own = at_element(whole, rank_ * shard.numel());
  const auto* result = static_cast<const std::byte*>(shard.data_ptr());
  MUMOE_CHECK(result == own ||
                  result + shard.nbytes() <= at_element(whole, 0) ||
                  result >= at_element(whole, whole.numel()),
              "reduce_scatter: the shard overlaps a part of another rank");
  plan(shard.numel(), 1);
}

void MpiPeerReduction::plan(std::int64_t elements,
                            std::int64_t ranks_in_a_segment) {
  const auto size = static_cast<std::int64_t>(whole_.element_size());
  type_ = mpi_type(whole_.scalar_type());
  elements_ = elements;
  segment_ = std::min(
      {elements, max_count_, ranks_in_a_segment * kIntervalBytes / size});
  const std::int64_t most =
      gathers_ ? (segment_ + ranks_ - 1) / ranks_ : segment_;
  row_bytes_ = most * size;
  staging_ = StagingPool::borrow(group_->context->staging,
                                 static_cast<std::size_t>(ranks_ * row_bytes_));
}

MpiPeerReduction::Interval MpiPeerReduction::interval(std::int64_t segment,
                                                      int rank) const {
  const std::int64_t begin = segment * segment_;
  const std::int64_t count = std::min(segment_, elements_ - begin);
  if (!gathers_) return {rank * elements_ + begin, count};
  const std::int64_t first = count * rank / ranks_;
  return {begin + first, count * (rank + 1) / ranks_ - first};
}

std::byte* MpiPeerReduction::row(int rank) const {
  return staging_.get() + rank * row_bytes_;
}

std::vector<MpiTask::Step> MpiPeerReduction::steps(
    const std::shared_ptr<MpiPeerReduction>& self) {
  const std::int64_t segments =
      (self->elements_ + self->segment_ - 1) / self->segment_;
  std::vector<MpiTask::Step> steps;
  for (std::int64_t i = 0; i <= segments; ++i) {
    steps.push_back([self, i, segments](std::vector<MPI_Request>& requests,
                                        const std::string& what) {
      if (i > 0) self->reduce(i - 1);
      if (i > 0 && self->gathers_) self->gather(i - 1, requests, what);
      if (i < segments) self->scatter(i, requests, what);
    });
  }
  return steps;
}

void MpiPeerReduction::scatter(std::int64_t segment,
                               std::vector<MPI_Request>& requests,
                               const std::string& what) {
  const auto own = static_cast<int>(interval(segment, rank_).count);
  for (int i = 1; i < ranks_ && own > 0; ++i) {
    const int from = (rank_ - i + ranks_) % ranks_;
    MPI_Request request;
    MUMOE_MPI_CHECK(
        MPI_Irecv(row(from), own, type_, from, tag_, group_->comm, &request),
        what);
    requests.push_back(request);
  }
  for (int i = 1; i < ranks_; ++i) {
    const int to = (rank_ + i) % ranks_;
    const Interval part = interval(segment, to);
    if (part.count == 0) continue;
    MPI_Request request;
    MUMOE_MPI_CHECK(MPI_Isend(at_element(whole_, part.begin),
                              static_cast<int>(part.count),
                              type_,
                              to,
                              tag_,
                              group_->comm,
                              &request),
                    what);
    requests.push_back(request);
  }
}

void MpiPeerReduction::reduce(std::int64_t segment) {
  const Interval own = interval(segment, rank_);
  std::vector<const void*> rows;
  for (int r = 0; r < ranks_; ++r) {
    rows.push_back(r == rank_ ? at_element(whole_, own.begin) : row(r));
  }
  void* result = result_.defined() ? at_element(result_, segment * segment_)
                                   : at_element(whole_, own.begin);
  reduce_parts(whole_.scalar_type(), op_, rows, result, own.count);
}

void MpiPeerReduction::gather(std::int64_t segment,
                              std::vector<MPI_Request>& requests,
                              const std::string& what) {
  for (int i = 1; i < ranks_; ++i) {
    const int from = (rank_ - i + ranks_) % ranks_;
    const Interval part = interval(segment, from);
    if (part.count == 0) continue;
    MPI_Request request;
    MUMOE_MPI_CHECK(MPI_Irecv(at_element(whole_, part.begin),
                              static_cast<int>(part.count),
                              type_,
                              from,
                              tag_ + 1,
                              group_->comm,
                              &request),
                    what);
    requests.push_back(request);
  }
  const Interval own = interval(segment, rank_);
  for (int i = 1; i < ranks_ && own.count > 0; ++i) {
    const int to = (rank_ + i) % ranks_;
    MPI_Request request;
    MUMOE_MPI_CHECK(MPI_Isend(at_element(whole_, own.begin),
                              static_cast<int>(own.count),
                              type_,
                              to,
                              tag_ + 1,
                              group_->comm,
                              &request),
                    what);
    requests.push_back(request);
  }
}

}  // namespace mumoe::dist

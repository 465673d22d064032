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

}  // namespace

MpiPeerReduction::MpiPeerReduction(std::shared_ptr<const MpiGroup> group,
                                   int rank,
                                   int ranks,
                                   std::int64_t sequence,
                                   ReduceOp op,
                                   std::int64_t max_count,
                                   at::Tensor whole,
                                   at::Tensor shard)
    : group_(std::move(group)),
      rank_(rank),
      ranks_(ranks),
      tag_(static_cast<int>(2 * (sequence % kTags))),
      op_(op),
      gathers_(!shard.defined()),
      whole_(std::move(whole)),
      result_(std::move(shard)),
      type_(mpi_type(whole_.scalar_type())),
      elements_(gathers_ ? whole_.numel() : result_.numel()) {
  if (!gathers_) {
    const auto* result = static_cast<const std::byte*>(result_.data_ptr());
    MUMOE_CHECK(result == at_element(whole_, rank_ * elements_) ||
                    result + result_.nbytes() <= at_element(whole_, 0) ||
                    result >= at_element(whole_, whole_.numel()),
                "reduce_scatter: the shard overlaps a part of another rank");
  }
  const auto size = static_cast<std::int64_t>(whole_.element_size());
  segment_ = std::min(
      {elements_, max_count, (gathers_ ? ranks_ : 1) * kIntervalBytes / size});
  row_bytes_ = size * (gathers_ ? (segment_ + ranks_ - 1) / ranks_ : segment_);
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

MpiPeerReduction::Message MpiPeerReduction::part(std::int64_t segment,
                                                 int rank) const {
  const Interval of = interval(segment, rank);
  return {at_element(whole_, of.begin), of.count};
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
    steps.push_back([self, i, segments](MpiTask::Requests& requests,
                                        const std::string& what) {
      if (i > 0) self->reduce(i - 1);
      if (i > 0 && self->gathers_) self->gather(i - 1, requests, what);
      if (i < segments) self->scatter(i, requests, what);
    });
  }
  return steps;
}

template <class In, class Out>
void MpiPeerReduction::exchange(int tag,
                                In in,
                                Out out,
                                MpiTask::Requests& requests,
                                const std::string& what) {
  const auto start =
      [&](auto* call, const char* name, const Message& message, int peer) {
        if (message.count == 0) return;
        check_mpi(call(message.data,
                       static_cast<int>(message.count),
                       type_,
                       peer,
                       tag,
                       group_->comm,
                       next(requests)),
                  name,
                  what);
      };
  for (int i = 1; i < ranks_; ++i) {
    const int from = (rank_ - i + ranks_) % ranks_;
    start(MPI_Irecv, "MPI_Irecv", in(from), from);
  }
  for (int i = 1; i < ranks_; ++i) {
    const int to = (rank_ + i) % ranks_;
    start(MPI_Isend, "MPI_Isend", out(to), to);
  }
}

void MpiPeerReduction::scatter(std::int64_t segment,
                               MpiTask::Requests& requests,
                               const std::string& what) {
  const std::int64_t own = interval(segment, rank_).count;
  exchange(
      tag_,
      [&](int from) {
        return Message{row(from), own};
      },
      [&](int to) { return part(segment, to); },
      requests,
      what);
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
                              MpiTask::Requests& requests,
                              const std::string& what) {
  exchange(
      tag_ + 1,
      [&](int from) { return part(segment, from); },
      [&](int) { return part(segment, rank_); },
      requests,
      what);
}

}  // namespace mumoe::dist

#include "launch/comm_case.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/error.h"

namespace mumoe::launch {

using dist::Op;
using dist::ReduceOp;

CommCase::CommCase(dist::Communicator& group,
                   const CommShape& shape,
                   at::Device device)
    : group_(group), shape_(shape) {
  // 64 · 4 = 2⁸: the last of the whole numbers that bf16 has all of.
  constexpr int kExactRanks = 64;
  const bool adds =
      (shape.op == Op::all_reduce || shape.op == Op::reduce_scatter) &&
      shape.reduce == ReduceOp::sum;
  require(shape.dtype != at::kBFloat16 || !adds || group.size() <= kExactRanks,
          "--type bf16: a sum over axis {}, {} ranks, is not exact beyond {} "
          "and cannot be checked; expected fp32, or --redop max",
          group.axis(),
          group.size(),
          kExactRanks);
  const auto options = at::TensorOptions(shape.dtype).device(device);
  const auto elements =
      shape.bytes / static_cast<std::int64_t>(c10::elementSize(shape.dtype));
  const bool in_place = shape.op == Op::all_reduce || shape.op == Op::broadcast;
  const int parts = in_place ? 1 : group.size();
  count_ = std::max<std::int64_t>(elements / parts, 1);
  const bool gathers = shape.op == Op::all_gather;
  const bool scatters = shape.op == Op::reduce_scatter;
  in_ = at::zeros({gathers ? count_ : parts * count_}, options);
  out_ =
      in_place ? in_ : at::zeros({scatters ? count_ : parts * count_}, options);
}

std::int64_t CommCase::bytes() const {
  return static_cast<std::int64_t>(std::max(in_.nbytes(), out_.nbytes()));
}

void CommCase::fill() {
  out_.fill_(-1);
  in_.copy_(values(group_.rank(), 0, in_.numel()));
}

void CommCase::run() {
  switch (shape_.op) {
    case Op::all_reduce:
      group_.all_reduce(in_, shape_.reduce);
      return;
    case Op::all_gather:
      group_.all_gather(in_, out_);
      return;
    case Op::reduce_scatter:
      group_.reduce_scatter(in_, out_, shape_.reduce);
      return;
    case Op::all_to_all:
      group_.all_to_all(in_, out_);
      return;
    case Op::broadcast:
      group_.broadcast(in_, 0);
      return;
    case Op::barrier:
      break;
  }
  fail<InternalError>("a barrier has no elements");
}

std::int64_t CommCase::count_wrong() const {
  return (out_ != expected().to(out_.options())).sum().item<std::int64_t>();
}

double CommCase::seconds(int repeats) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (int i = 0; i < repeats; ++i) run();
  out_[0].item();  // waits for a device
  return std::chrono::duration<double>(Clock::now() - start).count() / repeats;
}

at::Tensor CommCase::values(int rank,
                            std::int64_t first,
                            std::int64_t count) const {
  const std::int64_t shift = std::int64_t{rank} * (rank + 1) / 2;
  return at::arange(first + shift, first + shift + count, at::kLong)
      .remainder_(4)
      .add_(1);
}

at::Tensor CommCase::reduced(std::int64_t first, std::int64_t count) const {
  at::Tensor result = values(0, first, count);
  for (int rank = 1; rank < group_.size(); ++rank) {
    const at::Tensor other = values(rank, first, count);
    switch (shape_.reduce) {
      case ReduceOp::sum:
        result.add_(other);
        break;
      case ReduceOp::min:
        result = at::minimum(result, other);
        break;
      case ReduceOp::max:
        result = at::maximum(result, other);
        break;
      case ReduceOp::avg:
        fail<InternalError>("averages of whole numbers are not exact");
    }
  }
  return result;
}

at::Tensor CommCase::expected() const {
  const std::int64_t own = group_.rank() * count_;
  if (shape_.op == Op::all_reduce) return reduced(0, count_);
  if (shape_.op == Op::reduce_scatter) return reduced(own, count_);
  if (shape_.op == Op::broadcast) return values(0, 0, count_);
  std::vector<at::Tensor> parts;
  for (int rank = 0; rank < group_.size(); ++rank) {
    const bool gathers = shape_.op == Op::all_gather;
    parts.push_back(values(rank, gathers ? 0 : own, count_));
  }
  return at::cat(parts);
}

}  // namespace mumoe::launch

#include "dist/communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "dist/torch_text.h"

namespace mumoe::dist {
namespace {

bool carries(at::ScalarType type) {
  return type == at::kBFloat16 || type == at::kFloat || type == at::kDouble ||
         type == at::kLong;
}

}  // namespace

template <class Start>
Work Communicator::run(const Collective& collective, Start start) {
  for (Observer* observer : observers_) observer->begin(*this, collective);
  const bool empty = collective.elements == 0 && collective.op != Op::barrier;
  Work work = empty ? Work() : start();
  for (Observer* observer : observers_) {
    work = observer->started(*this, collective, std::move(work));
  }
  return work;
}

bool Communicator::timed() const {
  return std::ranges::any_of(observers_, [](const Observer* observer) {
    return observer->wants_device_times();
  });
}

Work Communicator::all_reduce_async(const at::Tensor& tensor, ReduceOp op) {
  check(Op::all_reduce, tensor);
  if (size_ == 1) return {};
  Collective collective = count(Op::all_reduce, tensor);
  collective.reduce = op;
  return run(collective, [&] { return do_all_reduce(tensor, op); });
}

Work Communicator::all_gather_async(const at::Tensor& shard,
                                    const at::Tensor& whole) {
  check_pair(Op::all_gather, shard, whole, size_);
  if (size_ == 1) {
    if (shard.data_ptr() != whole.data_ptr()) whole.view_as(shard).copy_(shard);
    return {};
  }
  return run(count(Op::all_gather, whole),
             [&] { return do_all_gather(shard, whole); });
}

Work Communicator::reduce_scatter_async(const at::Tensor& whole,
                                        const at::Tensor& shard,
                                        ReduceOp op) {
  check_pair(Op::reduce_scatter, shard, whole, size_);
  if (size_ == 1) {
    if (shard.data_ptr() != whole.data_ptr()) shard.view_as(whole).copy_(whole);
    return {};
  }
  Collective collective = count(Op::reduce_scatter, whole);
  collective.reduce = op;
  return run(collective, [&] { return do_reduce_scatter(whole, shard, op); });
}

Work Communicator::all_to_all_async(const at::Tensor& in,
                                    const at::Tensor& out) {
  check_pair(Op::all_to_all, in, out, 1);
  MUMOE_CHECK(in.numel() % size_ == 0,
              "{}: {} elements do not divide by {} ranks",
              describe(Op::all_to_all),
              in.numel(),
              size_);
  if (size_ == 1) {
    out.view_as(in).copy_(in);
    return {};
  }
  return run(count(Op::all_to_all, in), [&] { return do_all_to_all(in, out); });
}

Work Communicator::broadcast_async(const at::Tensor& tensor, int root) {
  check(Op::broadcast, tensor);
  MUMOE_CHECK(root >= 0 && root < size_,
              "{}: root {} is no rank of this group",
              describe(Op::broadcast),
              root);
  if (size_ == 1) return {};
  Collective collective = count(Op::broadcast, tensor);
  collective.root = root;
  return run(collective, [&] { return do_broadcast(tensor, root); });
}

void Communicator::barrier() {
  if (size_ == 1) return;
  run(count(Op::barrier, {}), [&] { return do_barrier(); }).wait();
}

std::unique_ptr<Communicator> Communicator::split(int color,
                                                  int key,
                                                  std::string axis) {
  auto group = do_split(color, key, std::move(axis));
  group->set_deadline(deadline_);
  group->set_phase(phase_);
  return group;
}

std::int64_t Communicator::total_bytes() const {
  const auto bytes = [this](Op op) { return traffic(op).bytes; };
  return bytes(Op::all_reduce) + bytes(Op::broadcast) +
         (bytes(Op::all_gather) + bytes(Op::reduce_scatter) +
          bytes(Op::all_to_all)) /
             2;
}

std::string Communicator::describe(std::string_view what) const {
  return fmt::format("rank {} of {} (axis {}), {}, phase {}",
                     rank_,
                     size_,
                     axis_,
                     what,
                     phase_);
}

std::string Communicator::describe(Op op, std::int64_t sequence) const {
  return describe(fmt::format("{} #{}", to_string(op), sequence));
}

void Communicator::check(Op op, const at::Tensor& tensor) const {
  MUMOE_CHECK(tensor.defined(), "{}: the tensor is undefined", describe(op));
  MUMOE_CHECK(tensor.is_contiguous(),
              "{}: the tensor is not contiguous",
              describe(op));
  MUMOE_CHECK(carries(tensor.scalar_type()),
              "{}: dtype {}, expected bf16, fp32, fp64 or int64",
              describe(op),
              tensor.scalar_type());
  MUMOE_CHECK(tensor.device() == device(),
              "{}: tensor on {}, this backend moves {}",
              describe(op),
              tensor.device(),
              device());
}

void Communicator::check_pair(Op op,
                              const at::Tensor& part,
                              const at::Tensor& whole,
                              std::int64_t parts) const {
  check(op, part);
  check(op, whole);
  MUMOE_CHECK(part.scalar_type() == whole.scalar_type(),
              "{}: dtypes {} and {} differ",
              describe(op),
              part.scalar_type(),
              whole.scalar_type());
  MUMOE_CHECK(part.numel() * parts == whole.numel(),
              "{}: {} elements a rank and {} in all, expected {} times as many",
              describe(op),
              part.numel(),
              whole.numel(),
              parts);
}

Collective Communicator::count(Op op, const at::Tensor& payload) {
  Collective collective{.op = op, .sequence = ++sequence_};
  if (payload.defined()) {
    collective.elements = payload.numel();
    collective.bytes = static_cast<std::int64_t>(payload.nbytes());
    collective.dtype = payload.scalar_type();
  }
  auto& traffic = traffic_[static_cast<int>(op)];
  ++traffic.calls;
  traffic.elements += collective.elements;
  traffic.bytes += collective.bytes;
  return collective;
}

std::string_view to_string(Op op) {
  constexpr std::array<std::string_view, kOps> kNames = {"all_reduce",
                                                         "all_gather",
                                                         "reduce_scatter",
                                                         "all_to_all",
                                                         "broadcast",
                                                         "barrier"};
  return kNames.at(static_cast<std::size_t>(op));
}

std::string_view to_string(ReduceOp op) {
  constexpr std::array<std::string_view, 4> kNames = {"sum",
                                                      "avg",
                                                      "min",
                                                      "max"};
  return kNames.at(static_cast<std::size_t>(op));
}

}  // namespace mumoe::dist

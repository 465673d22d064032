#include "dist/nccl/nccl_communicator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/nccl/cuda_handles.h"
#include "dist/nccl/cuda_tensors.h"
#include "dist/nccl/nccl_comm.h"
#include "dist/nccl/nccl_context.h"
#include "dist/nccl/nccl_work.h"
#include "dist/torch_text.h"

namespace mumoe::dist {
namespace {

NcclType nccl_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kBFloat16:
      return NcclType::bf16;
    case at::kFloat:
      return NcclType::fp32;
    case at::kDouble:
      return NcclType::fp64;
    case at::kLong:
      return NcclType::int64;
    default:
      fail<InternalError>("dtype {} has no NcclType", tensor.scalar_type());
  }
}

/// From `in` to `out`; `parts`: of how many counts the larger of them is.
NcclData data_of(const at::Tensor& in, const at::Tensor& out, int parts = 1) {
  const std::int64_t most = std::max(in.numel(), out.numel());
  return {.in = in.data_ptr(),
          .out = out.data_ptr(),
          .count = static_cast<std::size_t>(most / parts),
          .type = nccl_type(in)};
}

// NaN where `tensor` has one, else −0, which changes no number it is added to.
at::Tensor nan_places(const at::Tensor& tensor) {
  return at::where(tensor.isnan(),
                   at::full({}, NAN, tensor.options()),
                   at::full({}, -0.0, tensor.options()));
}

class NcclCommunicator final : public Communicator {
 public:
  // `comm` is null for a group of one rank.
  NcclCommunicator(std::shared_ptr<NcclComm> comm,
                   int rank,
                   int size,
                   std::string axis,
                   at::Device device)
      : Communicator(rank, size, std::move(axis)),
        comm_(std::move(comm)),
        device_(device) {}

 private:
  at::Device device() const override { return device_; }

  Work do_all_reduce(const at::Tensor& tensor, ReduceOp op) override {
    return reduce(Op::all_reduce, op, tensor, tensor, &NcclComm::all_reduce);
  }

  Work do_all_gather(const at::Tensor& shard,
                     const at::Tensor& whole) override {
    return start(Op::all_gather, {shard, whole}, [&](const NcclCall& call) {
      comm_->all_gather(data_of(shard, whole, size()), call);
    });
  }

  Work do_reduce_scatter(const at::Tensor& whole,
                         const at::Tensor& shard,
                         ReduceOp op) override {
    // Between two ranks NCCL rounds once too.
    const bool adds = op == ReduceOp::sum || op == ReduceOp::avg;
    if (adds && whole.scalar_type() == at::kBFloat16 && size() > 2) {
      return exchange_and_add(whole, shard, op);
    }
    return reduce(Op::reduce_scatter,
                  op,
                  whole,
                  shard,
                  &NcclComm::reduce_scatter);
  }

  // bf16: NCCL would round at every rank that a sum passes. The parts are
  // exchanged instead, which moves as many bytes, and added here in fp32.
  Work exchange_and_add(const at::Tensor& whole,
                        const at::Tensor& shard,
                        ReduceOp op) {
    const at::NoGradGuard no_grad;
    const at::Tensor parts =
        at::empty({size(), shard.numel()}, whole.options());
    return start(Op::reduce_scatter,
                 {whole, shard, parts},
                 [&](const NcclCall& call) {
                   comm_->all_to_all(data_of(whole, parts, size()), call);
                   const StreamScope scope(device_, comm_->stream());
                   at::Tensor sum = at::sum(parts, {0}, false, at::kFloat);
                   if (op == ReduceOp::avg) sum.div_(size());
                   at::Tensor(shard).copy_(sum.view_as(shard));
                 });
  }

  Work do_all_to_all(const at::Tensor& in, const at::Tensor& out) override {
    return start(Op::all_to_all, {in, out}, [&](const NcclCall& call) {
      comm_->all_to_all(data_of(in, out, size()), call);
    });
  }

  Work do_broadcast(const at::Tensor& tensor, int root) override {
    return start(Op::broadcast, {tensor}, [&](const NcclCall& call) {
      comm_->broadcast(data_of(tensor, tensor), root, call);
    });
  }

  Work do_barrier() override {
    const at::Tensor word = at::zeros({1}, on_device(at::kLong));
    return start(
        Op::barrier,
        {word},
        [&](const NcclCall& call) { comm_->barrier(word.data_ptr(), call); },
        NcclWork::Waits::host);
  }

  std::unique_ptr<Communicator> do_split(int color,
                                         int key,
                                         std::string axis) override;

  /// The (color, key) of every rank, on the CPU [size, 2].
  at::Tensor gather_choices(int color, int key, const NcclCall& call);

  using Reduction = void (NcclComm::*)(const NcclData&,
                                       ReduceOp,
                                       const NcclCall&);

  // `run` reduces `in` to `out`.
  Work reduce(Op kind,
              ReduceOp op,
              const at::Tensor& in,
              const at::Tensor& out,
              Reduction run) {
    const auto queue = [&](const at::Tensor& from,
                           const at::Tensor& to,
                           ReduceOp by,
                           const NcclCall& call) {
      const auto parts = static_cast<int>(from.numel() / to.numel());
      ((*comm_).*run)(data_of(from, to, parts), by, call);
    };
    if (op == ReduceOp::sum || op == ReduceOp::avg ||
        in.scalar_type() == at::kLong) {
      return start(kind, {in, out}, [&](const NcclCall& call) {
        queue(in, out, op, call);
      });
    }
    const at::NoGradGuard no_grad;
    const at::Tensor nans = nan_places(in);
    const at::Tensor sum = in.is_same(out) ? nans : at::empty_like(out);
    return start(kind, {in, out, nans, sum}, [&](const NcclCall& call) {
      comm_->context()->group(
          [&] {
            queue(in, out, op, call);
            queue(nans, sum, ReduceOp::sum, call);
          },
          call);
      const StreamScope scope(device_, comm_->stream());
      at::Tensor(out).add_(sum.view_as(out));
    });
  }

  Work start(Op op,
             std::vector<at::Tensor> tensors,
             const NcclWork::Operation& operation,
             NcclWork::Waits waits = NcclWork::Waits::stream) {
    return Work(std::make_shared<NcclWork>(
        comm_,
        NcclCall{describe(op), deadline()},
        device_,
        std::move(tensors),
        operation,
        waits,
        timed() ? NcclWork::Timing::on : NcclWork::Timing::off));
  }

  at::TensorOptions on_device(at::ScalarType type) const {
    return at::TensorOptions(type).device(device_);
  }

  std::shared_ptr<NcclComm> comm_;
  at::Device device_;
};

std::unique_ptr<Communicator> NcclCommunicator::do_split(int color,
                                                         int key,
                                                         std::string axis) {
  const auto result = [&](std::shared_ptr<NcclComm> comm, int rank, int size) {
    return std::make_unique<NcclCommunicator>(std::move(comm),
                                              rank,
                                              size,
                                              axis,
                                              device_);
  };
  if (size() == 1) return result(nullptr, 0, 1);
  const NcclCall call{describe("split for axis " + axis), deadline()};
  // NCCL takes no negative colors: the lowest rank of a color stands for it.
  const at::Tensor choices = gather_choices(color, key, call);
  const auto* choice = choices.data_ptr<std::int64_t>();
  int first = 0, members = 0;
  while (choice[2 * first] != color) ++first;
  for (int r = 0; r < size(); ++r) members += choice[2 * r] == color;
  // A group of one rank never calls NCCL.
  std::shared_ptr<NcclComm> comm =
      comm_->split(members == 1 ? NcclComm::kNoGroup : first, key, axis, call);
  return comm ? result(comm, comm->rank(), comm->size()) : result({}, 0, 1);
}

at::Tensor NcclCommunicator::gather_choices(int color,
                                            int key,
                                            const NcclCall& call) {
  const at::Tensor own =
      at::tensor({std::int64_t{color}, std::int64_t{key}}, at::kLong)
          .to(device_);
  const at::Tensor all = at::empty({size(), 2}, on_device(at::kLong));
  const auto gather = [&](const NcclCall& of) {
    comm_->all_gather(data_of(own, all, size()), of);
  };
  NcclWork(comm_, call, device_, {own, all}, gather, NcclWork::Waits::host)
      .wait();
  return all.to(at::kCPU);
}

NcclComm::Id share_id(Communicator& control, const NcclCall& call) {
  const at::Tensor words =
      at::zeros({sizeof(NcclComm::Id) / sizeof(std::int64_t)}, at::kLong);
  NcclComm::Id id;
  if (control.rank() == 0) {
    id = NcclComm::make_id(call);
    std::memcpy(words.data_ptr(), id.data(), id.size());
  }
  control.broadcast(words, 0);
  std::memcpy(id.data(), words.data_ptr(), id.size());
  return id;
}

DevicePlace place_of(int device, const CudaDevices& found) {
  DevicePlace place{.host = this_host(),
                    .device = device,
                    .visible = found.count,
                    .fault = found.fault};
  if (device >= place.visible) return place;
  try {
    place.address = cuda_device_address(device);
  } catch (const CommunicationError& error) {
    place.fault = error.what();
  }
  return place;
}

}  // namespace

bool has_nccl() {
  return true;
}

std::optional<std::string> nccl_version() {
  return NcclComm::version();
}

DevicePlace device_place(int local_rank) {
  const CudaDevices found = cuda_devices();
  return place_of(device_of(local_rank, found.count), found);
}

void use_gpu(int device) {
  use_cuda_device(device, fmt::format("GPU {}", device));
}

std::string gpu_name(int device) {
  return cuda_device_name(device);
}

NcclWorld make_nccl_communicator(Communicator& control,
                                 int device,
                                 std::string axis) {
  require_own_devices(control, place_of(device, cuda_devices()));
  const NcclCall call{
      fmt::format("rank {} of {} (axis {}), start of NCCL, GPU {}",
                  control.rank(),
                  control.size(),
                  axis,
                  device),
      control.deadline()};
  const auto context = std::make_shared<NcclContext>(device);
  std::shared_ptr<NcclComm> comm;
  if (control.size() > 1) {
    comm = std::make_shared<NcclComm>(context,
                                      share_id(control, call),
                                      control.rank(),
                                      control.size(),
                                      axis,
                                      call);
  }
  auto world = std::make_unique<NcclCommunicator>(std::move(comm),
                                                  control.rank(),
                                                  control.size(),
                                                  std::move(axis),
                                                  cuda_device(device));
  world->set_deadline(control.deadline());
  world->set_phase(control.phase());
  return {
      std::move(world),
      [context] { return context->async_error(); },
      [context](const std::string& reason, std::chrono::milliseconds limit) {
        return context->abort(reason, limit);
      }};
}

}  // namespace mumoe::dist

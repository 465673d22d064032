#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "dist/communicator.h"

namespace mumoe::dist {

/// A group of GPUs as one of the CPU, so that the suite runs over it: tensors
/// are copied to the device before an operation, and back when it is waited
/// for.
class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(std::unique_ptr<Communicator> group, at::Device on)
      : Communicator(group->rank(), group->size(), group->axis()),
        group_(std::move(group)),
        on_(on) {
    set_deadline(group_->deadline());
    set_phase(group_->phase());
  }

 private:
  struct Copies final : Work::State {
    Work work;
    at::Tensor from, to;
    void wait() override {
      work.wait();
      if (to.defined()) at::Tensor(to).copy_(from.view_as(to));
    }
    bool done() override { return work.done(); }
  };

  at::Device device() const override { return at::kCPU; }

  static Work staged(Work work, at::Tensor from = {}, at::Tensor to = {}) {
    auto state = std::make_shared<Copies>();
    state->work = std::move(work);
    state->from = std::move(from);
    state->to = std::move(to);
    return Work(std::move(state));
  }

  /// `part` on the device: within `whole`'s copy where it lies within `whole`.
  at::Tensor part_of(const at::Tensor& part,
                     const at::Tensor& whole,
                     const at::Tensor& copy) const {
    const auto* begin = static_cast<const char*>(whole.data_ptr());
    const auto offset = static_cast<const char*>(part.data_ptr()) - begin;
    if (offset < 0 || offset >= static_cast<std::int64_t>(whole.nbytes())) {
      return part.to(on_);
    }
    return copy.view(-1).narrow(
        0,
        offset / static_cast<std::int64_t>(part.element_size()),
        part.numel());
  }

  Work do_all_reduce(const at::Tensor& tensor, ReduceOp op) override {
    const at::Tensor copy = tensor.to(on_);
    return staged(group_->all_reduce_async(copy, op), copy, tensor);
  }
  Work do_all_gather(const at::Tensor& shard,
                     const at::Tensor& whole) override {
    const at::Tensor copy = whole.to(on_);
    const at::Tensor part = part_of(shard, whole, copy);
    return staged(group_->all_gather_async(part, copy), copy, whole);
  }
  Work do_reduce_scatter(const at::Tensor& whole,
                         const at::Tensor& shard,
                         ReduceOp op) override {
    const at::Tensor copy = whole.to(on_);
    const at::Tensor part = part_of(shard, whole, copy);
    return staged(group_->reduce_scatter_async(copy, part, op), part, shard);
  }
  Work do_all_to_all(const at::Tensor& in, const at::Tensor& out) override {
    const at::Tensor from = in.to(on_), to = out.to(on_);
    return staged(group_->all_to_all_async(from, to), to, out);
  }
  Work do_broadcast(const at::Tensor& tensor, int root) override {
    const at::Tensor copy = tensor.to(on_);
    return staged(group_->broadcast_async(copy, root), copy, tensor);
  }
  Work do_barrier() override {
    group_->barrier();
    return {};
  }
  std::unique_ptr<Communicator> do_split(int color,
                                         int key,
                                         std::string axis) override {
    return std::make_unique<StagedCommunicator>(
        group_->split(color, key, std::move(axis)),
        on_);
  }

  std::unique_ptr<Communicator> group_;
  at::Device on_;
};

}  // namespace mumoe::dist

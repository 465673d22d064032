#include "dist/null_communicator.h"

#include <ATen/ATen.h>

#include <utility>

#include "base/error.h"
#include "dist/self_communicator.h"

namespace mumoe::dist {
namespace {

bool overlaps(const at::Tensor& part, const at::Tensor& whole) {
  const auto* begin = static_cast<const std::byte*>(whole.data_ptr());
  const auto* at = static_cast<const std::byte*>(part.data_ptr());
  return at >= begin && at < begin + whole.nbytes();
}

class NullCommunicator final : public Communicator {
 public:
  NullCommunicator(const NullMesh& mesh,
                   int rank,
                   int size,
                   std::string axis,
                   at::Device to)
      : Communicator(rank, size, std::move(axis)), mesh_(mesh), device_(to) {}

 private:
  at::Device device() const override { return device_; }

  Work do_all_reduce(const at::Tensor&, ReduceOp) override { return {}; }
  Work do_all_gather(const at::Tensor& shard,
                     const at::Tensor& whole) override {
    if (overlaps(shard, whole)) return {};
    whole.detach().view({size(), shard.numel()}).copy_(shard.detach().view(-1));
    return {};
  }
  Work do_reduce_scatter(const at::Tensor& whole,
                         const at::Tensor& shard,
                         ReduceOp) override {
    const at::Tensor own =
        whole.detach().view({size(), shard.numel()}).select(0, rank());
    if (own.data_ptr() != shard.data_ptr()) {
      shard.detach().view(-1).copy_(own);
    }
    return {};
  }
  Work do_all_to_all(const at::Tensor& in, const at::Tensor& out) override {
    out.detach().view(-1).copy_(in.detach().view(-1));
    return {};
  }
  Work do_broadcast(const at::Tensor&, int) override { return {}; }
  Work do_barrier() override { return {}; }

  std::unique_ptr<Communicator> do_split(int,
                                         int key,
                                         std::string axis) override {
    if (mesh_.dp * mesh_.tp == 1) {
      return make_self_communicator(device_, std::move(axis));
    }
    const int ranks = size_of(axis);
    MUMOE_CHECK(key >= 0 && key < ranks,
                "axis {} of a null communicator: key {}, expected the rank in "
                "a group of {}",
                axis,
                key,
                ranks);
    return std::make_unique<NullCommunicator>(mesh_,
                                              key,
                                              ranks,
                                              std::move(axis),
                                              device_);
  }

  int size_of(const std::string& axis) const {
    if (axis == this->axis()) return size();
    if (axis == "dp") return mesh_.dp;
    if (axis == "tp") return mesh_.tp;
    MUMOE_CHECK(axis == "all",
                "a null communicator has the axes dp, tp and all, not {}",
                axis);
    return mesh_.dp * mesh_.tp;
  }

  NullMesh mesh_;
  at::Device device_;
};

}  // namespace

// A null communicator of one rank: the base class answers for it.
std::unique_ptr<Communicator> make_self_communicator(at::Device device,
                                                     std::string axis) {
  return std::make_unique<NullCommunicator>(NullMesh{},
                                            0,
                                            1,
                                            std::move(axis),
                                            device);
}

std::unique_ptr<Communicator> make_null_communicator(const NullMesh& mesh,
                                                     at::Device device) {
  const int ranks = mesh.dp * mesh.tp;
  MUMOE_CHECK(
      mesh.dp >= 1 && mesh.tp >= 1 && mesh.rank >= 0 && mesh.rank < ranks,
      "rank {} of a mesh of {} x {}",
      mesh.rank,
      mesh.dp,
      mesh.tp);
  return std::make_unique<NullCommunicator>(mesh,
                                            mesh.rank,
                                            ranks,
                                            "world",
                                            device);
}

}  // namespace mumoe::dist

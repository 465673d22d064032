#include "tests/support/thread_communicator.h"

#include <fmt/format.h>
#include <algorithm>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/mpi/reduction.h"
#include "dist/torch_text.h"
#include "tests/support/thread_group.h"

namespace mumoe::dist {
namespace {

using threads::AbortedError;
using threads::Group;
using threads::Post;
using threads::Slot;
using threads::ThreadWork;
using threads::World;

std::byte* bytes(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

// The reduction of all ranks' `in`, into memory of its own: outputs may be
// parts of inputs.
std::vector<std::byte> reduced(const Slot& slot, ReduceOp op) {
  const at::Tensor& first = slot.posts[0]->in;
  std::vector<const void*> parts;
  for (const auto& post : slot.posts) parts.push_back(post->in.data_ptr());
  std::vector<std::byte> result(first.nbytes());
  reduce_parts(first.scalar_type(), op, parts, result.data(), first.numel());
  return result;
}

void compute_all_reduce(Slot& slot, ReduceOp op) {
  const auto result = reduced(slot, op);
  for (const auto& post : slot.posts) {
    std::memcpy(post->in.data_ptr(), result.data(), result.size());
  }
}

void compute_reduce_scatter(Slot& slot, ReduceOp op) {
  const auto result = reduced(slot, op);
  const std::byte* part = result.data();
  for (const auto& post : slot.posts) {
    std::memcpy(post->out.data_ptr(), part, post->out.nbytes());
    part += post->out.nbytes();
  }
}

void compute_all_gather(Slot& slot) {
  for (const auto& to : slot.posts) {
    std::byte* part = bytes(to->out);
    for (const auto& from : slot.posts) {
      // A shard that is this very part, or another rank's memory.
      std::memmove(part, from->in.data_ptr(), from->in.nbytes());
      part += from->in.nbytes();
    }
  }
}

void compute_all_to_all(Slot& slot) {
  const std::size_t ranks = slot.posts.size();
  const std::size_t part = slot.posts[0]->in.nbytes() / ranks;
  for (std::size_t to = 0; to < ranks; ++to) {
    for (std::size_t from = 0; from < ranks; ++from) {
      std::memcpy(bytes(slot.posts[to]->out) + from * part,
                  bytes(slot.posts[from]->in) + to * part,
                  part);
    }
  }
}

void compute_broadcast(Slot& slot, int root) {
  const at::Tensor& source = slot.posts[root]->in;
  for (const auto& post : slot.posts) {
    if (post->in.data_ptr() == source.data_ptr()) continue;
    std::memcpy(post->in.data_ptr(), source.data_ptr(), source.nbytes());
  }
}

void compute_split(Slot& slot, const Group& parent) {
  std::map<int, std::vector<std::pair<int, int>>> colors;  // (key, rank)
  for (int r = 0; r < parent.size(); ++r) {
    colors[slot.posts[r]->color].emplace_back(slot.posts[r]->key, r);
  }
  slot.groups.resize(slot.posts.size());
  for (auto& [color, ranks] : colors) {
    std::sort(ranks.begin(), ranks.end());
    auto group = std::make_shared<Group>();
    group->world = parent.world;
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      group->members.push_back(parent.members[ranks[i].second]);
      slot.groups[ranks[i].second] = {group, static_cast<int>(i)};
    }
  }
}

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Group> group, int rank, std::string axis)
      : Communicator(rank, group->size(), std::move(axis)),
        group_(std::move(group)) {}

 private:
  at::Device device() const override { return at::kCPU; }

  Work do_all_reduce(const at::Tensor& tensor, ReduceOp op) override {
    return start(Op::all_reduce, to_string(op), tensor, {}, [op](Slot& slot) {
      compute_all_reduce(slot, op);
    });
  }
  Work do_all_gather(const at::Tensor& shard,
                     const at::Tensor& whole) override {
    return start(Op::all_gather, "", shard, whole, compute_all_gather);
  }
  Work do_reduce_scatter(const at::Tensor& whole,
                         const at::Tensor& shard,
                         ReduceOp op) override {
    return start(Op::reduce_scatter,
                 to_string(op),
                 whole,
                 shard,
                 [op](Slot& slot) { compute_reduce_scatter(slot, op); });
  }
  Work do_all_to_all(const at::Tensor& in, const at::Tensor& out) override {
    return start(Op::all_to_all, "", in, out, compute_all_to_all);
  }
  Work do_broadcast(const at::Tensor& tensor, int root) override {
    return start(Op::broadcast,
                 fmt::format("root {}", root),
                 tensor,
                 {},
                 [root](Slot& slot) { compute_broadcast(slot, root); });
  }
  Work do_barrier() override {
    return start(Op::barrier, "", {}, {}, [](Slot&) {});
  }

  std::unique_ptr<Communicator> do_split(int color,
                                         int key,
                                         std::string axis) override {
    Post part;
    part.call = fmt::format("split into {}", axis);
    part.what = describe(part.call);
    part.color = color;
    part.key = key;
    const std::string what = part.what;
    const auto slot = post(*group_,
                           rank(),
                           {sequence(), ++splits_},
                           std::move(part),
                           [this](Slot& s) { compute_split(s, *group_); });
    ThreadWork(group_, slot, what, deadline()).wait();
    const auto& [group, rank_there] = slot->groups[rank()];
    return std::make_unique<ThreadCommunicator>(group,
                                                rank_there,
                                                std::move(axis));
  }

  Work start(Op op,
             std::string_view detail,
             const at::Tensor& in,
             const at::Tensor& out,
             std::function<void(Slot&)> compute) {
    Post part;
    part.call = std::string(to_string(op));
    if (in.defined()) {
      part.call += fmt::format("({}{}{} elements, {})",
                               detail,
                               detail.empty() ? "" : ", ",
                               in.numel(),
                               in.scalar_type());
    }
    part.what = describe(op);
    part.in = in;
    part.out = out;
    std::string what = part.what;
    auto slot = post(*group_,
                     rank(),
                     {sequence(), splits_},
                     std::move(part),
                     std::move(compute));
    return Work(std::make_shared<ThreadWork>(group_,
                                             std::move(slot),
                                             std::move(what),
                                             deadline()));
  }

  std::shared_ptr<Group> group_;
  std::int64_t splits_ = 0;
};

}  // namespace

struct ThreadWorld::State {
  std::shared_ptr<World> world;
  std::shared_ptr<Group> group;
};

ThreadWorld::ThreadWorld(int ranks) : state_(std::make_shared<State>()) {
  MUMOE_CHECK(ranks >= 1, "a world of {} ranks", ranks);
  state_->world = std::make_shared<World>(ranks);
  state_->group = std::make_shared<Group>();
  state_->group->world = state_->world;
  state_->group->members.resize(ranks);
  std::iota(state_->group->members.begin(), state_->group->members.end(), 0);
}

int ThreadWorld::size() const {
  return state_->group->size();
}

std::unique_ptr<Communicator> ThreadWorld::communicator(int rank) {
  MUMOE_CHECK(rank >= 0 && rank < size(), "rank {} of {}", rank, size());
  return std::make_unique<ThreadCommunicator>(state_->group, rank, "world");
}

void ThreadWorld::abort(int rank, const std::string& text) {
  World& world = *state_->world;
  std::lock_guard lock(world.mutex);
  if (!world.aborted) {
    world.aborted =
        fmt::format("aborted because rank {} failed: {}", rank, text);
  }
  world.changed.notify_all();
}

void ThreadWorld::leave(int rank) {
  World& world = *state_->world;
  std::lock_guard lock(world.mutex);
  world.left[rank] = true;
  world.changed.notify_all();
}

void ThreadWorld::run(int ranks,
                      const std::function<void(Communicator&)>& body) {
  ThreadWorld world(ranks);
  std::vector<std::exception_ptr> own(ranks), secondary(ranks);
  std::vector<std::thread> threads;
  const auto run_rank = [&](int rank) {
    try {
      const auto communicator = world.communicator(rank);
      body(*communicator);
      world.leave(rank);
    } catch (const AbortedError&) {
      secondary[rank] = std::current_exception();
    } catch (const std::exception& error) {
      own[rank] = std::current_exception();
      world.abort(rank, error.what());
    } catch (...) {
      own[rank] = std::current_exception();
      world.abort(rank, "an exception of unknown type");
    }
  };
  for (int rank = 0; rank < ranks; ++rank) threads.emplace_back(run_rank, rank);
  for (auto& thread : threads) thread.join();
  for (const auto* errors : {&own, &secondary}) {
    for (const auto& error : *errors) {
      if (error) std::rethrow_exception(error);
    }
  }
}

}  // namespace mumoe::dist

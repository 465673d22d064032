#include "tests/support/thread_communicator.h"

#include <fmt/format.h>
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/mpi/reduction.h"
#include "dist/torch_text.h"

namespace mumoe::dist {

namespace {

// What all groups of one world share. One mutex for all: these are tests.
struct World {
  explicit World(int ranks) : left(ranks, false) {}

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<bool> left;
  std::optional<std::string> aborted;  // "aborted because rank 1 failed: ..."
};

// An error that is the consequence of another rank's.
struct AbortedError : CommunicationError {
  using CommunicationError::CommunicationError;
};

// What one rank brings to an operation. `call` is what ranks must agree on.
struct Post {
  std::string call;
  std::string what;  // head of messages: rank, axis, operation, phase
  at::Tensor in;
  at::Tensor out;
  int color = 0;
  int key = 0;
};

struct Group;

// One operation of a group: open until every rank has posted its part.
struct Slot {
  std::vector<std::optional<Post>> posts;
  bool done = false;
  Work::Clock::time_point ended;
  std::string error;
  // What a split gives to each rank: the new group and the rank in it.
  std::vector<std::pair<std::shared_ptr<Group>, int>> groups;
};

// Operations and splits in the order of calls. The communicator counts empty
// tensors too, which never come here: keys may have gaps, the same on all
// ranks.
using Key = std::pair<std::int64_t, std::int64_t>;

struct Group {
  std::shared_ptr<World> world;
  std::vector<int> members;  // world ranks, in the order of this group
  std::map<Key, std::shared_ptr<Slot>> open;

  int size() const { return static_cast<int>(members.size()); }
};

std::string missing(const Group& group, const Slot& slot) {
  std::string ranks;
  for (int r = 0; r < group.size(); ++r) {
    if (!slot.posts[r])
      ranks += fmt::format("{}{}", ranks.empty() ? "" : ", ", r);
  }
  return ranks;
}

std::string mismatch(const Slot& slot, int a, int b) {
  return fmt::format("ranks differ: rank {} called {}, rank {} called {}",
                     a,
                     slot.posts[a]->call,
                     b,
                     slot.posts[b]->call);
}

// Under the world's mutex: a rank that goes on to `key` will never post its
// part of an older operation.
void fail_skipped(Group& group, int rank, const Key& key, const Post& post) {
  for (auto it = group.open.begin();
       it != group.open.end() && it->first < key;) {
    Slot& slot = *it->second;
    if (slot.posts[rank]) {
      ++it;
      continue;
    }
    const auto other = std::find_if(slot.posts.begin(),
                                    slot.posts.end(),
                                    [](const auto& p) { return bool(p); });
    slot.error =
        fmt::format("ranks differ: rank {} called {}, rank {} went on to {}",
                    other - slot.posts.begin(),
                    (*other)->call,
                    rank,
                    post.call);
    slot.ended = Work::Clock::now();
    slot.done = true;
    it = group.open.erase(it);
  }
}

// Posts one rank's part; the last to come computes, without the lock.
std::shared_ptr<Slot> post(Group& group,
                           int rank,
                           const Key& key,
                           Post part,
                           std::function<void(Slot&)> compute) {
  std::shared_ptr<Slot> slot;
  {
    std::lock_guard lock(group.world->mutex);
    fail_skipped(group, rank, key, part);
    auto& entry = group.open[key];
    if (!entry) {
      entry = std::make_shared<Slot>();
      entry->posts.resize(group.size());
    }
    slot = entry;
    slot->posts[rank] = std::move(part);
    const bool complete = std::all_of(slot->posts.begin(),
                                      slot->posts.end(),
                                      [](const auto& p) { return bool(p); });
    group.world->changed.notify_all();
    if (!complete) return slot;
    group.open.erase(key);
    if (group.world->aborted) return slot;
  }
  for (int r = 1; r < group.size() && slot->error.empty(); ++r) {
    if (slot->posts[r]->call != slot->posts[0]->call) {
      slot->error = mismatch(*slot, 0, r);
    }
  }
  try {
    if (slot->error.empty()) compute(*slot);
  } catch (const std::exception& error) {
    slot->error = error.what();
  }
  std::lock_guard lock(group.world->mutex);
  for (auto& ended : slot->posts) ended->in = ended->out = at::Tensor();
  slot->ended = Work::Clock::now();
  slot->done = true;
  group.world->changed.notify_all();
  return slot;
}

class ThreadWork final : public Work::State {
 public:
  ThreadWork(std::shared_ptr<Group> group,
             std::shared_ptr<Slot> slot,
             std::string what,
             std::chrono::milliseconds deadline)
      : group_(std::move(group)),
        slot_(std::move(slot)),
        what_(std::move(what)),
        deadline_(deadline) {}

  void wait() override {
    std::unique_lock lock(group_->world->mutex);
    const auto end = std::chrono::steady_clock::now() + deadline_;
    while (!slot_->done) {
      throw_if_hopeless();
      if (deadline_.count() == 0) {
        group_->world->changed.wait(lock);
      } else if (group_->world->changed.wait_until(lock, end) ==
                     std::cv_status::timeout &&
                 !slot_->done) {
        throw_if_hopeless();
        fail<CommunicationError>(
            "{}: not finished after {} s; waits for rank(s) {}",
            what_,
            deadline_.count() / 1000.0,
            missing(*group_, *slot_));
      }
    }
    if (!slot_->error.empty()) {
      fail<CommunicationError>("{}: {}", what_, slot_->error);
    }
  }

  bool done() override {
    std::lock_guard lock(group_->world->mutex);
    return slot_->done || group_->world->aborted;
  }

  std::optional<Work::Clock::time_point> ended() override {
    std::lock_guard lock(group_->world->mutex);
    return slot_->done ? std::optional(slot_->ended) : std::nullopt;
  }

 private:
  void throw_if_hopeless() const {
    const auto& world = *group_->world;
    if (world.aborted) fail<AbortedError>("{}: {}", what_, *world.aborted);
    for (int r = 0; r < group_->size(); ++r) {
      if (!slot_->posts[r] && world.left[group_->members[r]]) {
        fail<CommunicationError>("{}: rank {} has returned without calling it",
                                 what_,
                                 r);
      }
    }
  }

  std::shared_ptr<Group> group_;
  std::shared_ptr<Slot> slot_;
  std::string what_;
  std::chrono::milliseconds deadline_;
};

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
    part.what = fmt::format("rank {} of {} (axis {}), split into {}, phase {}",
                            rank(),
                            size(),
                            this->axis(),
                            axis,
                            phase());
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

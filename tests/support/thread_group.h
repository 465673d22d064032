#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/work.h"

// How ranks that are threads meet: what one rank posts, the last to come
// computes for all.

namespace mumoe::dist::threads {

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

/// Posts one rank's part; the last to come computes, without the lock.
std::shared_ptr<Slot> post(Group& group,
                           int rank,
                           const Key& key,
                           Post part,
                           const std::function<void(Slot&)>& compute);

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

  void wait() override;
  bool done() override {
    std::lock_guard lock(group_->world->mutex);
    return slot_->done || group_->world->aborted;
  }

  std::optional<Work::Clock::time_point> ended() override {
    std::lock_guard lock(group_->world->mutex);
    return slot_->done ? std::optional(slot_->ended) : std::nullopt;
  }

 private:
  void throw_if_hopeless() const;

  std::shared_ptr<Group> group_;
  std::shared_ptr<Slot> slot_;
  std::string what_;
  std::chrono::milliseconds deadline_;
};

}  // namespace mumoe::dist::threads

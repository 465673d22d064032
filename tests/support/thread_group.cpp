#include "tests/support/thread_group.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

namespace mumoe::dist::threads {
namespace {

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

}  // namespace

std::shared_ptr<Slot> post(Group& group,
                           int rank,
                           const Key& key,
                           Post part,
                           const std::function<void(Slot&)>& compute) {
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

void ThreadWork::wait() {
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

void ThreadWork::throw_if_hopeless() const {
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

}  // namespace mumoe::dist::threads

#include "data/prefetch.h"

#include <utility>

#include "base/error.h"

namespace mumoe::data {

Prefetcher::Prefetcher(Make make, std::uint64_t first, std::size_t depth)
    : make_(std::move(make)), depth_(depth) {
  MUMOE_CHECK(depth > 0, "a queue of no batches never yields one");
  thread_ = std::thread([this, first] { work(first); });
}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Prefetcher::work(std::uint64_t index) {
  for (;; ++index) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || ready_.size() < depth_; });
      if (stopping_) return;
    }
    HostBatch batch;
    std::exception_ptr failure;
    try {
      batch = make_(index);
    } catch (...) {
      failure = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      failure_ = failure;
      if (!failure) ready_.push_back(std::move(batch));
    }
    changed_.notify_all();
    if (failure) return;
  }
}

HostBatch Prefetcher::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || !ready_.empty(); });
  // Batches made before the failure come first.
  if (ready_.empty()) std::rethrow_exception(failure_);
  HostBatch batch = std::move(ready_.front());
  ready_.pop_front();
  lock.unlock();
  changed_.notify_all();
  return batch;
}

}  // namespace mumoe::data

#include "dist/mpi/mpi_task.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/error.h"

namespace mumoe::dist {

void check_mpi(int code,
               std::string_view expression,
               std::string_view operation) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail<CommunicationError>("{}: {} failed: {}", operation, expression, text);
}

MpiTask::MpiTask(std::string what,
                 std::chrono::milliseconds deadline,
                 std::vector<Step> steps,
                 std::size_t bytes)
    : what_(std::move(what)),
      deadline_(deadline),
      steps_(std::move(steps)),
      bytes_(bytes) {}

void MpiTask::wait() {
  if (!done()) {
    bool in_time = true;
    if (waiters_) waiters_->fetch_add(1, std::memory_order_relaxed);
    const auto start = std::chrono::steady_clock::now();
    while (!done() && std::chrono::steady_clock::now() - start < kSpin) {
      std::this_thread::yield();
    }
    if (!done()) {
      std::unique_lock lock(mutex_);
      const auto ended = [this] { return done(); };
      // In slices: a process that was stopped and goes on has lost one of
      // them, not its deadline, and finds what came in the meantime.
      constexpr std::chrono::milliseconds kSlice{500};
      auto left =
          deadline_.count() == 0 ? decltype(deadline_)::max() : deadline_;
      while (in_time &&
             !changed_.wait_for(lock, std::min(left, kSlice), ended)) {
        left -= std::min(left, kSlice);
        in_time = left.count() > 0;
      }
    }
    if (waiters_) waiters_->fetch_sub(1, std::memory_order_relaxed);
    if (!in_time) {
      fail<CommunicationError>(
          "{}: not finished after {:.1f} s; another rank is stuck, gone or "
          "calls something else",
          what_,
          static_cast<double>(deadline_.count()) / 1e3);
    }
  }
  if (error_) std::rethrow_exception(error_);
}

void MpiTask::end(std::exception_ptr error) {
  steps_.clear();
  error_ = std::move(error);
  ended_ = Work::Clock::now();
  {
    std::lock_guard lock(mutex_);
    done_.store(true, std::memory_order_release);
  }
  changed_.notify_all();
}

}  // namespace mumoe::dist

#pragma once

#include <mpi.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "dist/mpi/mpi_task.h"

// MPI's side of mpi_runtime and mpi_communicator; only they include this.

namespace mumoe::dist {

/// The one thread that calls MPI: initialises it, starts every operation,
/// drives those under way, and finalises it. MPI needs to support no more than
/// MPI_THREAD_FUNNELED.
///
/// A non-blocking collective advances only inside MPI calls, so the thread
/// tests its requests in a loop. It yields between tests for a moment after
/// something has happened. Then it sleeps between them, so as not to take a
/// core from the computation: 20 µs while data should be moving, later 1 % of
/// how long it has waited, at most 500 µs. While nothing is under way it sleeps
/// on a condition variable.
///
/// Thread safety: all public methods may be called from any thread, `post`
/// from the MPI thread too.
class MpiThread {
 public:
  /// Starts the thread and MPI, and runs `setup` there. Throws what that
  /// throws, and `InternalError` when this process has started MPI before.
  /// Null: not done within `limit`; the thread is left behind, and with it what
  /// `setup` uses.
  static std::shared_ptr<MpiThread> start(std::function<void()> setup,
                                          std::chrono::milliseconds limit);

  /// Queues a task; tasks begin in the order of posts. After the end of the
  /// thread the task fails.
  void post(std::shared_ptr<MpiTask> task);

  /// Ends the thread after what is under way: runs `teardown`, then
  /// MPI_Finalize. False: not done within `limit`; the thread is left behind.
  bool finalize(std::function<void()> teardown,
                std::chrono::milliseconds limit);
  /// Ends the thread without MPI_Finalize: what is under way fails.
  void abandon();
  /// MPI_Abort with `code` as soon as the thread gets to it; `_Exit(code)`
  /// when that has not ended this process within `limit`.
  [[noreturn]] void abort(int code, std::chrono::milliseconds limit);

 private:
  using Clock = std::chrono::steady_clock;
  enum class Stop { no, finalize, abandon };
  void loop();
  bool take();
  void advance(const std::shared_ptr<MpiTask>& task);
  bool progress();
  void fail_task(const std::shared_ptr<MpiTask>& task,
                 std::exception_ptr error);
  void pause(Clock::time_point& last_activity);
  void end();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<MpiTask>> queue_;
  Stop stop_ = Stop::no;
  bool ended_ = false;
  std::function<void()> teardown_;
  std::thread thread_;
  /// Something is in the queue, or one of stop and abort was asked for.
  std::atomic<bool> called_{false};
  std::atomic<int> abort_code_{-1};
  std::shared_ptr<std::atomic<int>> waiters_ =
      std::make_shared<std::atomic<int>>(0);

  // Of the MPI thread alone: request i belongs to tasks_[i].
  MpiTask::Requests requests_;
  std::vector<std::shared_ptr<MpiTask>> tasks_;
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;
  std::vector<MpiTask::Step> leaked_;  // hold memory MPI may still write to
  std::size_t bytes_ = 0;              // of the tasks under way
  bool waited_ = false;
};

}  // namespace mumoe::dist

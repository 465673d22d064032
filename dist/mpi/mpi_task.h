#pragma once

#include <mpi.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dist/work.h"

namespace mumoe::dist {

/// Throws `CommunicationError("<operation>: <expression> failed: <MPI's
/// text>")` unless `code` is MPI_SUCCESS. `operation` names the rank.
void check_mpi(int code,
               std::string_view expression,
               std::string_view operation);

/// The one check of MPI calls. `operation`: the head of the message, as
/// `Communicator::describe` gives it.
#define MUMOE_MPI_CHECK(call, operation) \
  ::mumoe::dist::check_mpi((call), #call, (operation))

class MpiThread;

/// One collective on its way through the MPI thread, and the state behind the
/// caller's `Work`. The MPI thread calls the steps in turn, each when the
/// requests that the one before has started are complete; at the end it drops
/// them (and the tensors they hold), and only then marks the task as done.
class MpiTask final : public Work::State {
 public:
  /// How long a thread yields before it sleeps: longer than a small collective
  /// on one host, shorter than what a time slice would cost the computation.
  static constexpr std::chrono::microseconds kSpin{50};

  using Requests = std::vector<MPI_Request>;
  /// Appends the requests it starts; `what` heads its messages.
  using Step = std::function<void(Requests& requests, const std::string& what)>;

  /// `bytes`: about how much moves, 0 for little.
  MpiTask(std::string what,
          std::chrono::milliseconds deadline,
          std::vector<Step> steps,
          std::size_t bytes = 0);

  /// Blocks until the task is done, or throws when the deadline, counted from
  /// this call, has passed.
  void wait() override;
  bool done() override { return done_.load(std::memory_order_acquire); }
  std::optional<Work::Clock::time_point> ended() override {
    return done() ? std::optional(ended_) : std::nullopt;
  }

 private:
  friend class MpiThread;
  void end(std::exception_ptr error);

  std::string what_;
  std::chrono::milliseconds deadline_;
  std::vector<Step> steps_;
  std::size_t bytes_;
  std::size_t next_step_ = 0;
  std::size_t open_requests_ = 0;
  std::shared_ptr<std::atomic<int>> waiters_;  // of the MPI thread
  std::exception_ptr error_;
  Work::Clock::time_point ended_;
  std::atomic<bool> done_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
};

/// Room for one more of `requests`.
inline MPI_Request* next(MpiTask::Requests& requests) {
  return &requests.emplace_back(MPI_REQUEST_NULL);
}

}  // namespace mumoe::dist

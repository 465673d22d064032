#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

namespace mumoe::dist {

/// A collective under way. Handles are cheap to copy; dropping one does not
/// cancel the operation, and the tensors stay alive until it has ended.
class Work {
 public:
  using Clock = std::chrono::steady_clock;

  /// When something happened on a device, by the host's clock.
  struct DeviceTimes {
    Clock::time_point begin;
    Clock::time_point end;
    /// When each stream that was told to wait for the end had nothing else left
    /// to do; the end itself, at most.
    std::vector<Clock::time_point> waits;
  };

  /// What a backend implements.
  class State {
   public:
    virtual ~State() = default;
    /// CPU: blocks the calling thread until the operation has ended. CUDA:
    /// makes the current stream wait, and returns at once. Throws
    /// `CommunicationError` when the operation failed, was aborted, or did not
    /// end before the communicator's deadline.
    virtual void wait() = 0;
    /// Whether it has ended; never blocks.
    virtual bool done() = 0;
    /// When it ended; nothing before that, and from backends that do not know.
    virtual std::optional<Clock::time_point> ended() { return std::nullopt; }
    /// Of an operation on a device that has ended there, if its communicator
    /// was `timed`. Never blocks.
    virtual std::optional<DeviceTimes> device_times() { return std::nullopt; }
  };

  /// An operation that has already ended.
  Work() = default;
  explicit Work(std::shared_ptr<State> state) : state_(std::move(state)) {}

  void wait() const {
    if (state_) state_->wait();
  }
  bool done() const { return !state_ || state_->done(); }
  /// Nothing, too, for an operation that had ended when it was started.
  std::optional<Clock::time_point> ended() const {
    return state_ ? state_->ended() : std::nullopt;
  }
  std::optional<DeviceTimes> device_times() const {
    return state_ ? state_->device_times() : std::nullopt;
  }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace mumoe::dist

#pragma once

#include <chrono>
#include <memory>
#include <optional>

namespace mumoe::dist {

/// A collective under way. Handles are cheap to copy; dropping one does not
/// cancel the operation, and the tensors stay alive until it has ended.
class Work {
 public:
  using Clock = std::chrono::steady_clock;

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

 private:
  std::shared_ptr<State> state_;
};

}  // namespace mumoe::dist

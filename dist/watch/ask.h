#pragma once

#include <chrono>
#include <future>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include "base/thread_signals.h"

// Questions to what may be stuck: a driver, a library, another process.

namespace mumoe::dist {

/// How long an answer may take, where one can do without.
inline constexpr std::chrono::milliseconds kAnswer{1'000};

/// Runs `question` on a thread of its own, which may be left behind. An invalid
/// future where there is no memory for a thread.
template <class Question>
std::future<std::invoke_result_t<Question>> start_aside(Question question) {
  std::packaged_task<decltype(question())()> task(std::move(question));
  auto result = task.get_future();
  try {
    std::thread([task = std::move(task)]() mutable {
      block_signals();
      task();
    }).detach();
  } catch (const std::system_error&) {
    return {};
  }
  return result;
}

/// What `question` returns; `otherwise` when it has not within `kAnswer`.
template <class Question>
auto answer_of(Question question, decltype(question()) otherwise) {
  auto result = start_aside(std::move(question));
  if (!result.valid() ||
      result.wait_for(kAnswer) != std::future_status::ready) {
    return otherwise;
  }
  return result.get();
}

}  // namespace mumoe::dist

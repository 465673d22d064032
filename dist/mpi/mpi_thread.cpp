#include "dist/mpi/mpi_thread.h"

#include <fmt/format.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/thread_signals.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;

constexpr auto kSpin = MpiTask::kSpin;

// A slow network: for how long data under way counts as moving.
constexpr std::size_t kBytesPerMicrosecond = 200;

std::exception_ptr error_of(int code, const std::string& what) {
  try {
    check_mpi(code, "the operation", what);
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

void initialize() {
  int initialized = 0;
  MPI_Initialized(&initialized);
  MUMOE_CHECK(!initialized, "MPI is started once per process");
  int provided = MPI_THREAD_SINGLE;
  MUMOE_MPI_CHECK(
      MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided),
      "start of MPI");
  if (provided < MPI_THREAD_FUNNELED) {
    fail<CommunicationError>("start of MPI: this MPI has no thread support");
  }
  for (MPI_Comm comm : {MPI_COMM_WORLD, MPI_COMM_SELF}) {
    MUMOE_MPI_CHECK(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN),
                    "start of MPI");
  }
}

}  // namespace

std::shared_ptr<MpiThread> MpiThread::start(std::function<void()> setup,
                                            std::chrono::milliseconds limit) {
  auto self = std::make_shared<MpiThread>();
  std::promise<void> promise;
  auto started = promise.get_future();
  self->thread_ = std::thread(
      [self, setup = std::move(setup), promise = std::move(promise)]() mutable {
        block_signals();
        // The kernel rounds sleeps up by 50 µs unless told otherwise.
        prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
        try {
          initialize();
          setup();
        } catch (...) {
          self->end();
          promise.set_exception(std::current_exception());
          return;
        }
        setup = nullptr;
        promise.set_value();
        self->loop();
      });
  if (started.wait_for(limit) != std::future_status::ready) {
    self->thread_.detach();
    return nullptr;
  }
  try {
    started.get();
  } catch (...) {
    self->thread_.join();
    throw;
  }
  return self;
}

void MpiThread::post(std::shared_ptr<MpiTask> task) {
  task->waiters_ = waiters_;
  {
    std::lock_guard lock(mutex_);
    if (!ended_) {
      queue_.push_back(std::move(task));
      called_.store(true, std::memory_order_release);
    }
  }
  if (task) {
    task->end(std::make_exception_ptr(CommunicationError(
        fmt::format("{}: MPI has been finalized or abandoned", task->what_))));
  }
  changed_.notify_all();
}

bool MpiThread::finalize(std::function<void()> teardown,
                         std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  teardown_ = std::move(teardown);
  stop_ = Stop::finalize;
  called_.store(true, std::memory_order_release);
  changed_.notify_all();
  const bool in_time = changed_.wait_for(lock, limit, [&] { return ended_; });
  lock.unlock();
  in_time ? thread_.join() : thread_.detach();
  return in_time;
}

void MpiThread::abandon() {
  {
    std::lock_guard lock(mutex_);
    stop_ = Stop::abandon;
    called_.store(true, std::memory_order_release);
  }
  changed_.notify_all();
  thread_.detach();  // it may be inside a call of MPI that never returns
}

void MpiThread::abort(int code, std::chrono::milliseconds limit) {
  abort_code_.store(code);
  std::unique_lock lock(mutex_);
  called_.store(true, std::memory_order_release);
  changed_.notify_all();
  changed_.wait_for(lock, limit, [&] { return ended_; });
  std::_Exit(code);
}

void MpiThread::loop() {
  auto last_activity = Clock::now();
  while (true) {
    if (requests_.empty() && !called_.load(std::memory_order_acquire)) {
      if (Clock::now() - last_activity < kSpin) {
        std::this_thread::yield();
        continue;
      }
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return called_.load(); });
    }
    const bool took = called_.load(std::memory_order_acquire) && take();
    if (ended_) return;
    const bool completed = !requests_.empty() && progress();
    if (took || completed) {
      last_activity = Clock::now();
    } else if (!requests_.empty()) {
      pause(last_activity);
    }
  }
}

// Starts what has been posted, and obeys `abort` and `stop`.
bool MpiThread::take() {
  std::deque<std::shared_ptr<MpiTask>> taken;
  Stop stop;
  {
    std::lock_guard lock(mutex_);
    taken.swap(queue_);
    stop = stop_;
    // While it is to stop it stays called, until nothing is under way.
    called_.store(stop != Stop::no, std::memory_order_release);
  }
  if (const int code = abort_code_.load(); code >= 0) {
    std::fflush(nullptr);
    MPI_Abort(MPI_COMM_WORLD, code);
  }
  for (const auto& task : taken) {
    bytes_ += task->bytes_;
    advance(task);
  }
  if (stop == Stop::abandon) {
    end();
  } else if (stop == Stop::finalize && taken.empty() && requests_.empty()) {
    teardown_();
    MPI_Finalize();
    end();
  }
  return !taken.empty();
}

// Takes the steps of a task until one of them has started something.
void MpiThread::advance(const std::shared_ptr<MpiTask>& task) {
  MpiTask::Requests started;
  try {
    while (started.empty() && task->next_step_ < task->steps_.size()) {
      task->steps_[task->next_step_++](started, task->what_);
    }
  } catch (...) {
    fail_task(task, std::current_exception());
    return;
  }
  task->open_requests_ = started.size();
  for (MPI_Request request : started) {
    requests_.push_back(request);
    tasks_.push_back(task);
  }
  if (started.empty()) {
    bytes_ -= task->bytes_;
    task->end(nullptr);
  }
}

// Requests of a failed task may still be open: what they use is kept.
void MpiThread::fail_task(const std::shared_ptr<MpiTask>& task,
                          std::exception_ptr error) {
  if (task->done()) return;
  std::move(task->steps_.begin(),
            task->steps_.end(),
            std::back_inserter(leaked_));
  bytes_ -= task->bytes_;
  task->end(std::move(error));
}

// Lets MPI advance. True when some request has completed.
bool MpiThread::progress() {
  const int count = static_cast<int>(requests_.size());
  indices_.resize(count);
  statuses_.resize(count);
  int completed = 0;
  const int code = MPI_Testsome(count,
                                requests_.data(),
                                &completed,
                                indices_.data(),
                                statuses_.data());
  int error_class = MPI_SUCCESS;
  if (code != MPI_SUCCESS) MPI_Error_class(code, &error_class);
  if (error_class != MPI_SUCCESS && error_class != MPI_ERR_IN_STATUS) {
    // Nothing says whose request it was: none can be trusted any more.
    for (const auto& task : tasks_) {
      fail_task(task, error_of(code, task->what_));
    }
    requests_.clear();
    tasks_.clear();
    return true;
  }
  if (completed <= 0) return false;  // MPI_UNDEFINED is negative
  std::vector<std::shared_ptr<MpiTask>> ready;
  for (int i = 0; i < completed; ++i) {
    const auto& task = tasks_[indices_[i]];
    const int error =
        error_class == MPI_SUCCESS ? MPI_SUCCESS : statuses_[i].MPI_ERROR;
    --task->open_requests_;
    if (error != MPI_SUCCESS) {
      fail_task(task, error_of(error, task->what_));
    } else if (task->open_requests_ == 0 && !task->done()) {
      ready.push_back(task);
    }
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    requests_[kept] = requests_[i];
    tasks_[kept++] = std::move(tasks_[i]);
  }
  requests_.resize(kept);
  tasks_.resize(kept);
  for (const auto& task : ready) advance(task);
  return true;
}

// Between two tests without result. New calls end it at once.
void MpiThread::pause(Clock::time_point& last_activity) {
  const bool waited = waiters_->load(std::memory_order_relaxed) > 0;
  if (waited && !std::exchange(waited_, waited)) last_activity = Clock::now();
  waited_ = waited;
  const auto idle = std::chrono::duration_cast<std::chrono::microseconds>(
      Clock::now() - last_activity);
  if (idle < (waited ? 4 * kSpin : kSpin)) {
    std::this_thread::yield();
    return;
  }
  const std::chrono::microseconds moving(bytes_ / kBytesPerMicrosecond);
  const auto sleep = std::clamp((idle - moving) / 100, 20us, 500us);
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, sleep, [&] {
    return !queue_.empty() || abort_code_.load() >= 0;
  });
}

// Fails all that is left and tells who waits for the end of the thread.
void MpiThread::end() {
  {
    std::lock_guard lock(mutex_);
    for (auto& task : queue_) {
      bytes_ += task->bytes_;
      tasks_.push_back(std::move(task));
    }
    queue_.clear();
    ended_ = true;
  }
  for (const auto& task : tasks_) {
    fail_task(task,
              std::make_exception_ptr(CommunicationError(
                  fmt::format("{}: MPI has been abandoned", task->what_))));
  }
  changed_.notify_all();
}

}  // namespace mumoe::dist

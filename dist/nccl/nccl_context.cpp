#include "dist/nccl/nccl_context.h"

#include <fmt/format.h>
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// How long those that only look, or abort, wait for a thread inside NCCL.
constexpr auto kPatience = 200ms;

// NCCL reads it once, before its first operation; `main` sets it.
constexpr const char* kOrder = "NCCL_LAUNCH_ORDER_IMPLICIT";

void require_order(const NcclCall& call) {
  constexpr int kFirst = 22600;  // the version that knows it
  int version = 0;
  check_nccl(ncclGetVersion(&version), nullptr, "ncclGetVersion", call);
  require(version >= kFirst,
          "NCCL {}.{}: expected 2.26 or later",
          version / 10000,
          version / 100 % 100);
  const char* value = std::getenv(kOrder);
  require(value != nullptr && value == std::string_view("1"),
          "{}={}: expected 1, else operations of several groups may deadlock",
          kOrder,
          value == nullptr ? "" : value);
}

}  // namespace

// Outlives the context where a thread that aborts was left behind.
struct NcclContext::State {
  struct Member {
    // Memory of its own, which NCCL may fill long after the call: freed when
    // the communicator has been closed, never after an abort.
    ncclComm_t* comm;
    std::string axis;
  };

  // One call of NCCL, or one group of calls, at a time.
  std::recursive_mutex calls;
  bool grouping = false;           // guarded by `calls`
  std::set<ncclComm_t> collected;  // of the group under way

  std::mutex mutex;  // of what follows; no call of NCCL under it
  std::condition_variable changed;
  std::vector<Member> members;
  std::string reason;  // of the abort
  bool ended = false;  // the abort has
  std::atomic<bool> aborted{false};

  void check_alive(const NcclCall& call) {
    if (!aborted) return;
    const std::lock_guard lock(mutex);
    fail<CommunicationError>("{}: all NCCL communicators were aborted: {}",
                             call.what,
                             reason);
  }

  // `calls` for those that only look, or abort; not owned when a thread stays
  // inside NCCL. In short looks: ThreadSanitizer takes a lock that was waited
  // for with a limit for none.
  std::unique_lock<std::recursive_mutex> try_turn() {
    const auto start = Clock::now();
    std::unique_lock turn(calls, std::try_to_lock);
    while (!turn.owns_lock() && Clock::now() - start < kPatience) {
      std::this_thread::sleep_for(1ms);
      static_cast<void>(turn.try_lock());
    }
    return turn;
  }

  // Those that NCCL has made, and their axes; none after an abort.
  std::vector<std::pair<ncclComm_t, std::string>> open_members() {
    const std::lock_guard lock(mutex);
    std::vector<std::pair<ncclComm_t, std::string>> open;
    for (const Member& member : members) {
      if (*member.comm != nullptr) open.emplace_back(*member.comm, member.axis);
    }
    return open;
  }

  // Whether `comm` is not yet done with what was asked of it; throws what NCCL
  // has found by itself.
  bool busy(ncclComm_t comm,
            std::string_view expression,
            const NcclCall& call) {
    const std::lock_guard lock(calls);
    check_alive(call);
    ncclResult_t state = ncclInProgress;
    check_nccl(ncclCommGetAsyncError(comm, &state),
               comm,
               "ncclCommGetAsyncError",
               call);
    check_nccl(state, comm, expression, call);
    return state == ncclInProgress;
  }

  // Waits until it is done: for the length of `spin` without a pause, since the
  // shortest one, 60 us with the kernel's slack, is longer than what NCCL takes
  // to start an operation.
  void settle(ncclComm_t comm,
              std::string_view expression,
              const NcclCall& call,
              std::chrono::microseconds spin) {
    const auto start = Clock::now();
    auto pause = 10us;
    while (busy(comm, expression, call)) {
      const auto taken = Clock::now() - start;
      if (call.deadline > 0ms && taken > call.deadline) {
        fail<CommunicationError>(
            "{}: {}: not finished after {} s; another rank is stuck or gone, "
            "or cannot be reached",
            call.what,
            expression,
            std::chrono::duration<double>(call.deadline).count());
      }
      if (taken < spin) {
        std::this_thread::yield();  // NCCL's thread may need this core
        continue;
      }
      std::this_thread::sleep_for(pause);
      pause = std::min(2 * pause, 5'000us);
    }
  }

  // Marks and frees all communicators of `device` together.
  void end_all(int device) {
    keep_cuda_device(device);
    // A thread inside NCCL has this lock. Should it stay there, only the abort
    // can bring it back.
    static_cast<void>(try_turn());
    std::vector<Member> ending;
    {
      const std::lock_guard lock(mutex);
      ending.swap(members);
    }
    ncclGroupStart();
    for (const Member& member : ending) {
      if (*member.comm != nullptr) ncclCommAbort(*member.comm);
    }
    ncclGroupEnd();
    const std::lock_guard lock(mutex);
    ended = true;
    changed.notify_all();
  }
};

NcclContext::NcclContext(int device, Limits limits)
    : device_(device),
      limits_(limits),
      clock_(device),
      state_(std::make_shared<State>()) {
  const NcclCall call{fmt::format("start of NCCL, GPU {}", device)};
  require_order(call);
  use_cuda_device(device, call.what);
}

NcclContext::~NcclContext() {
  bool left = false;  // by a constructor that threw
  {
    const std::lock_guard lock(state_->mutex);
    left = !state_->members.empty();
  }
  if (left) abort("the end of NCCL on this rank", limits_.abort);
}

cudaStream_t NcclContext::make_stream(const NcclCall& call) {
  const std::lock_guard lock(streams_mutex_);
  return streams_.emplace_back(device_, call.what).get();
}

ncclComm_t NcclContext::open(
    ncclComm_t parent,
    const std::function<ncclResult_t(ncclComm_t*)>& start,
    std::string_view expression,
    std::string axis,
    const NcclCall& call) {
  use_cuda_device(device_, call.what);
  auto* const slot = new ncclComm_t(nullptr);
  const auto forget = [this, slot] {
    const std::lock_guard lock(state_->mutex);
    std::erase_if(state_->members,
                  [slot](const auto& member) { return member.comm == slot; });
  };
  try {
    {
      const std::lock_guard lock(state_->calls);
      state_->check_alive(call);
      check_nccl(start(slot), parent, expression, call);
      const std::lock_guard lock_members(state_->mutex);
      state_->members.push_back({slot, std::move(axis)});
    }
    // NCCL names the child of a split when it has done with the parent.
    if (parent != nullptr)
      state_->settle(parent, expression, call, limits_.spin);
    if (*slot != nullptr) {
      state_->settle(*slot, expression, call, limits_.spin);
      return *slot;
    }
  } catch (const Error& error) {
    abort(error.what(), limits_.abort);
    throw;
  }
  forget();
  delete slot;
  return nullptr;
}

void NcclContext::close(ncclComm_t comm, const NcclCall& call) {
  if (aborted()) return;
  use_cuda_device(device_, call.what);
  run(
      comm,
      [&] { return ncclCommFinalize(comm); },
      "ncclCommFinalize",
      call);
  const std::lock_guard lock(state_->calls);
  {
    const std::lock_guard lock_members(state_->mutex);
    const auto found = std::find_if(
        state_->members.begin(),
        state_->members.end(),
        [comm](const auto& member) { return *member.comm == comm; });
    if (found == state_->members.end()) return;  // aborted meanwhile
    delete found->comm;
    state_->members.erase(found);
  }
  check_nccl(ncclCommDestroy(comm), nullptr, "ncclCommDestroy", call);
}

void NcclContext::run(ncclComm_t comm,
                      const std::function<ncclResult_t()>& operation,
                      std::string_view expression,
                      const NcclCall& call) {
  use_cuda_device(device_, call.what);
  {
    const std::lock_guard lock(state_->calls);
    state_->check_alive(call);
    const ncclResult_t result = operation();
    check_nccl(result, comm, expression, call);
    if (state_->grouping) {
      state_->collected.insert(comm);
      return;
    }
    if (result == ncclSuccess) return;
  }
  state_->settle(comm, expression, call, limits_.spin);
}

void NcclContext::group(const std::function<void()>& body,
                        const NcclCall& call) {
  use_cuda_device(device_, call.what);
  std::set<ncclComm_t> comms;
  ncclResult_t result = ncclSuccess;
  {
    const std::lock_guard lock(state_->calls);
    state_->check_alive(call);
    MUMOE_CHECK(!state_->grouping, "{}: a group within a group", call.what);
    check_nccl(ncclGroupStart(), nullptr, "ncclGroupStart", call);
    state_->grouping = true;
    const auto end = [&] {
      state_->grouping = false;
      comms.swap(state_->collected);
      state_->collected.clear();
      return ncclGroupEnd();
    };
    try {
      body();
    } catch (...) {
      end();
      throw;
    }
    result = end();
    check_nccl(result, nullptr, "ncclGroupEnd", call);
  }
  if (result == ncclSuccess) return;
  for (const ncclComm_t comm : comms) {
    state_->settle(comm, "ncclGroupEnd", call, limits_.spin);
  }
}

void NcclContext::check(ncclComm_t comm, const NcclCall& call) const {
  use_cuda_device(device_, call.what);
  state_->busy(comm, "asynchronous error", call);
}

std::string NcclContext::async_error() const {
  const auto turn = state_->try_turn();
  if (!turn.owns_lock()) return {};
  keep_cuda_device(device_);
  // Those that are not being closed: that takes the same turn.
  for (const auto& [comm, axis] : state_->open_members()) {
    if (aborted()) return {};
    ncclResult_t state = ncclSuccess;
    const ncclResult_t result = ncclCommGetAsyncError(comm, &state);
    const ncclResult_t found = result == ncclSuccess ? state : result;
    if (!is_well(found)) {
      return fmt::format("NCCL, axis {}: {}", axis, nccl_texts(found, comm));
    }
  }
  return {};
}

bool NcclContext::abort(const std::string& reason,
                        std::chrono::milliseconds limit) {
  {
    const std::lock_guard lock(state_->mutex);
    if (!state_->aborted) {
      state_->reason = reason;
      state_->aborted = true;
      // A thread of its own: should NCCL never come back, it alone is lost.
      std::thread([state = state_, device = device_] {
        state->end_all(device);
      }).detach();
    }
  }
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, limit, [this] {
    return state_->ended;
  });
}

bool NcclContext::aborted() const {
  return state_->aborted;
}

}  // namespace mumoe::dist

#include "tests/fakes/fake_nccl.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "tests/fakes/fake_cuda_runtime.h"
#include "tests/fakes/fake_nccl_moves.h"

using mumoe::fakes::FakeGroup;
using Operation = mumoe::fakes::FakeOperation;
using mumoe::fakes::fake_nccl;

namespace {

constexpr int kMostRanks = 8;

/// What an ncclUniqueId holds.
struct Id {
  char magic[16] = "id of the fake";
  FakeGroup::Address data, control;
};
static_assert(sizeof(Id) <= sizeof(ncclUniqueId));

/// What the ranks of a split tell each other.
struct Choice {
  std::int64_t color, key;
  FakeGroup::Address data, control;
};

std::mutex mutex;  // of the four below
std::vector<std::string> called;
std::vector<std::string> misused;
int calls_of_failing = 0;
int operations = 0;

std::atomic<int> stuck_on_device{0};

thread_local int depth = 0;
thread_local std::vector<Operation> collected;
thread_local std::vector<ncclComm_t> aborting;

void nap() {
  std::this_thread::sleep_for(std::chrono::microseconds(100));
}

void misuse(const std::string& text) {
  const std::lock_guard lock(mutex);
  misused.push_back(text);
}

// Every call begins here; `comm` null: of no communicator.
ncclResult_t enter(const char* function, ncclComm_t comm = nullptr) {
  mumoe::fakes::need_context();
  {
    const std::lock_guard lock(mutex);
    called.emplace_back(function);
    auto& fake = fake_nccl();
    if (fake.failing == function && ++calls_of_failing == fake.failing_call) {
      return fake.result;
    }
  }
  if (comm == nullptr) return ncclSuccess;
  if (comm->freed) {
    misuse(std::string(function) + " after the end");
    return ncclInvalidArgument;
  }
  if (comm->busy || comm->polls > 0) {
    misuse(std::string(function) + " while in progress");
    return ncclInvalidUsage;
  }
  return ncclSuccess;
}

// Queues `body` on `stream`, as the next operation of the process.
void queue(ncclComm_t comm, cudaStream_t stream, std::function<void()> body) {
  bool stuck = false;
  {
    const std::lock_guard lock(mutex);
    const auto& fake = fake_nccl();
    ++operations;
    stuck = fake.stuck_operation > 0 && operations >= fake.stuck_operation;
    if (fake.async_operation > 0 && operations >= fake.async_operation) {
      comm->error = fake.async_result;
    }
  }
  ++comm->outstanding;
  if (stuck) ++stuck_on_device;
  mumoe::fakes::push(stream, [comm, stuck, body = std::move(body)] {
    if (stuck) {
      while (!comm->aborted) nap();
      --stuck_on_device;
    } else if (!comm->aborted) {
      body();
    }
    --comm->outstanding;
  });
}

// Starts operations that were called together, at once or, in the order of the
// calls, when one of their communicators has been looked at often enough.
ncclResult_t start(const std::vector<Operation>& group) {
  std::vector<std::pair<ncclComm_t, std::vector<Operation>>> exchanges;
  ncclResult_t result = ncclSuccess;
  const auto held = std::make_shared<std::vector<std::function<void()>>>();
  const auto begin = [&](ncclComm_t comm, std::function<void()> body) {
    if (fake_nccl().polls == 0) return body();
    comm->polls = fake_nccl().polls;
    held->push_back(std::move(body));
    comm->held.emplace_back([held] {
      for (const auto& each : std::exchange(*held, {})) each();
    });
    result = ncclInProgress;
  };
  for (const Operation& o : group) {
    if (o.kind != Operation::send && o.kind != Operation::receive) {
      begin(o.comm, [o] {
        queue(o.comm, o.stream, [o] { mumoe::fakes::execute(o); });
      });
      continue;
    }
    auto found = std::find_if(exchanges.begin(),
                              exchanges.end(),
                              [&](const auto& e) { return e.first == o.comm; });
    if (found == exchanges.end()) {
      found = exchanges.insert(found, {o.comm, {}});
    }
    found->second.push_back(o);
  }
  for (const auto& [comm, members] : exchanges) {
    begin(comm, [members] {
      queue(members.front().comm, members.front().stream, [members] {
        mumoe::fakes::exchange(members);
      });
    });
  }
  return result;
}

ncclResult_t submit(const char* function, const Operation& operation) {
  const ncclResult_t result = enter(function, operation.comm);
  if (result != ncclSuccess) return result;
  if (depth == 0) return start({operation});
  collected.push_back(operation);
  return ncclSuccess;
}

// What NCCL does behind the caller's back. `stuck`: until `comm` is aborted.
void in_background(ncclComm_t comm, bool stuck, std::function<void()> body) {
  comm->busy = true;
  std::thread([comm, stuck, body = std::move(body)] {
    while (stuck && !comm->aborted) nap();
    if (!stuck) body();
    comm->busy = false;
  }).detach();
}

void connect(ncclComm_t comm,
             const FakeGroup::Address& data,
             const FakeGroup::Address& control,
             int rank,
             int size) {
  comm->rank = rank;
  comm->size = size;
  comm->data = std::make_unique<FakeGroup>(data, rank, size, comm->aborted);
  comm->control =
      std::make_unique<FakeGroup>(control, rank, size, comm->aborted);
}

// The child of a split; null where this rank gave no color, or is aborted.
ncclComm_t split(ncclComm& parent, int color, int key) {
  const Choice own{color,
                   key,
                   FakeGroup::make(parent.size),
                   FakeGroup::make(parent.size)};
  const auto gathered = parent.control->gather(&own, sizeof(own));
  std::vector<std::pair<std::int64_t, int>> members;  // by key
  std::vector<Choice> choices(gathered.size());
  for (std::size_t r = 0; r < gathered.size(); ++r) {
    std::memcpy(&choices[r], gathered[r].data(), sizeof(Choice));
    if (choices[r].color == color) {
      members.emplace_back(choices[r].key, static_cast<int>(r));
    }
  }
  std::sort(members.begin(), members.end());
  const bool member = color != NCCL_SPLIT_NOCOLOR && !members.empty();
  if (!member || members.front().second != parent.rank) {
    FakeGroup::drop(own.data);
    FakeGroup::drop(own.control);
  }
  if (!member) return nullptr;
  const auto here = std::find(members.begin(),
                              members.end(),
                              std::pair<std::int64_t, int>(key, parent.rank));
  auto* child = new ncclComm;
  const Choice& first = choices[members.front().second];
  connect(child,
          first.data,
          first.control,
          static_cast<int>(here - members.begin()),
          static_cast<int>(members.size()));
  return child;
}

// Freeing memory of the device waits for what runs there.
void reclaim(ncclComm_t comm) {
  while (stuck_on_device > 0 || fake_nccl().stuck_abort) nap();
  comm->freed = true;
}

}  // namespace

namespace mumoe::fakes {

FakeNccl& fake_nccl() {
  static auto& fake = *new FakeNccl;
  return fake;
}

std::vector<std::string> FakeNccl::log() const {
  const std::lock_guard lock(mutex);
  return called;
}

std::vector<std::string> FakeNccl::misuse() const {
  const std::lock_guard lock(mutex);
  return misused;
}

void FakeNccl::reset() {
  const std::lock_guard lock(mutex);
  failing.clear();
  failing_call = 1;
  result = ncclSystemError;
  version = NCCL_VERSION_CODE;
  polls = 0;
  stuck_open = stuck_finalize = false;
  stuck_abort = stuck_ask = false;
  stuck_operation = async_operation = 0;
  async_result = ncclRemoteError;
  called.clear();
  misused.clear();
  calls_of_failing = operations = 0;
}

}  // namespace mumoe::fakes

#define ENTER(...)                                     \
  if (const ncclResult_t entered = enter(__VA_ARGS__); \
      entered != ncclSuccess) {                        \
    return entered;                                    \
  }

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = fake_nccl().version;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  ENTER("ncclGetUniqueId");
  // The size is not known yet: there is room for the largest.
  const Id made{.data = FakeGroup::make(kMostRanks),
                .control = FakeGroup::make(kMostRanks)};
  std::memcpy(id->internal, &made, sizeof(made));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm,
                                    int size,
                                    ncclUniqueId id,
                                    int rank,
                                    ncclConfig_t* config) {
  ENTER("ncclCommInitRankConfig");
  Id made;
  std::memcpy(&made, id.internal, sizeof(made));
  if (std::strcmp(made.magic, Id().magic) != 0 || size > kMostRanks ||
      rank < 0 || rank >= size) {
    return ncclInvalidArgument;
  }
  if (config->blocking != 0) misuse("a blocking communicator");
  *comm = new ncclComm;
  in_background(*comm, fake_nccl().stuck_open, [=, opened = *comm] {
    connect(opened, made.data, made.control, rank, size);
  });
  return ncclInProgress;
}

ncclResult_t ncclCommSplit(ncclComm_t comm,
                           int color,
                           int key,
                           ncclComm_t* child,
                           ncclConfig_t*) {
  ENTER("ncclCommSplit", comm);
  if (color < NCCL_SPLIT_NOCOLOR) return ncclInvalidArgument;
  *child = nullptr;
  in_background(comm, fake_nccl().stuck_open, [=] {
    ncclComm_t made = split(*comm, color, key);
    if (made == nullptr) return;
    *child = made;
    in_background(made, false, [] { nap(); });
  });
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  mumoe::fakes::need_context();
  if (comm->freed) misuse("ncclCommGetAsyncError after the end");
  {
    const std::lock_guard lock(mutex);
    auto& fake = fake_nccl();
    if (fake.failing == "ncclCommGetAsyncError" &&
        ++calls_of_failing == fake.failing_call) {
      return fake.result;
    }
  }
  ++fake_nccl().asking;
  while (fake_nccl().stuck_ask) nap();
  --fake_nccl().asking;
  if (comm->polls > 0 && --comm->polls == 0) {
    for (const auto& operation : std::exchange(comm->held, {})) operation();
  }
  *error = comm->busy || comm->polls > 0 ? ncclInProgress : comm->error.load();
  return ncclSuccess;
}

ncclResult_t ncclCommUserRank(const ncclComm_t comm, int* rank) {
  ENTER("ncclCommUserRank", comm);
  *rank = comm->rank;
  return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int* count) {
  ENTER("ncclCommCount", comm);
  *count = comm->size;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  ENTER("ncclCommFinalize", comm);
  in_background(comm, fake_nccl().stuck_finalize, [comm] {
    while (comm->outstanding > 0) nap();
    comm->control->gather("", 1);
    comm->finalized = true;
  });
  return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  ENTER("ncclCommDestroy", comm);
  if (!comm->finalized) misuse("ncclCommDestroy without ncclCommFinalize");
  comm->freed = true;
  comm->data.reset();
  comm->control.reset();
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  mumoe::fakes::need_context();
  {
    const std::lock_guard lock(mutex);
    called.emplace_back("ncclCommAbort");
  }
  if (comm->freed) misuse("ncclCommAbort after the end");
  comm->aborted = true;
  if (depth == 0) {
    reclaim(comm);
  } else {
    aborting.push_back(comm);
  }
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclSystemError   ? "system error"
         : result == ncclRemoteError ? "remote error"
                                     : "another error";
}

const char* ncclGetLastError(ncclComm_t) {
  return "the last\nerror of NCCL";
}

ncclResult_t ncclGroupStart() {
  ENTER("ncclGroupStart");
  ++depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  const ncclResult_t result = enter("ncclGroupEnd");
  if (--depth > 0) return result;
  const auto operations_of_group = std::exchange(collected, {});
  for (ncclComm_t comm : std::exchange(aborting, {})) reclaim(comm);
  return result == ncclSuccess ? start(operations_of_group) : result;
}

ncclResult_t ncclAllReduce(const void* in,
                           void* out,
                           std::size_t count,
                           ncclDataType_t type,
                           ncclRedOp_t op,
                           ncclComm_t comm,
                           cudaStream_t stream) {
  return submit("ncclAllReduce",
                {comm, Operation::reduce, in, out, count, type, op, 0, stream});
}

ncclResult_t ncclAllGather(const void* in,
                           void* out,
                           std::size_t count,
                           ncclDataType_t type,
                           ncclComm_t comm,
                           cudaStream_t stream) {
  return submit(
      "ncclAllGather",
      {comm, Operation::gather, in, out, count, type, ncclSum, 0, stream});
}

ncclResult_t ncclReduceScatter(const void* in,
                               void* out,
                               std::size_t count,
                               ncclDataType_t type,
                               ncclRedOp_t op,
                               ncclComm_t comm,
                               cudaStream_t stream) {
  return submit(
      "ncclReduceScatter",
      {comm, Operation::scatter, in, out, count, type, op, 0, stream});
}

ncclResult_t ncclBroadcast(const void* in,
                           void* out,
                           std::size_t count,
                           ncclDataType_t type,
                           int root,
                           ncclComm_t comm,
                           cudaStream_t stream) {
  return submit("ncclBroadcast",
                {comm,
                 Operation::broadcast,
                 in,
                 out,
                 count,
                 type,
                 ncclSum,
                 root,
                 stream});
}

ncclResult_t ncclSend(const void* in,
                      std::size_t count,
                      ncclDataType_t type,
                      int peer,
                      ncclComm_t comm,
                      cudaStream_t stream) {
  return submit(
      "ncclSend",
      {comm, Operation::send, in, nullptr, count, type, ncclSum, peer, stream});
}

ncclResult_t ncclRecv(void* out,
                      std::size_t count,
                      ncclDataType_t type,
                      int peer,
                      ncclComm_t comm,
                      cudaStream_t stream) {
  return submit("ncclRecv",
                {comm,
                 Operation::receive,
                 nullptr,
                 out,
                 count,
                 type,
                 ncclSum,
                 peer,
                 stream});
}

}  // extern "C"

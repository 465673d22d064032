#pragma once

#include <nccl.h>

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "tests/fakes/fake_group.h"

// What the handles of NCCL point to. Handles stay valid for ever, so that use
// after the end is seen.
struct ncclComm {
  int rank = 0;
  int size = 1;
  std::unique_ptr<mumoe::fakes::FakeGroup>
      data;  // of operations, by their stream
  std::unique_ptr<mumoe::fakes::FakeGroup> control;  // of splits and the end
  std::atomic<bool> busy{false};
  std::atomic<bool> aborted{false};
  std::atomic<bool> finalized{false};
  std::atomic<bool> freed{false};
  std::atomic<int> outstanding{0};
  std::atomic<ncclResult_t> error{ncclSuccess};
  // Operations that a number of looks still holds back.
  int polls = 0;
  std::vector<std::function<void()>> held;
};

namespace mumoe::fakes {

/// One call of NCCL that moves something.
struct FakeOperation {
  ncclComm_t comm;
  enum Kind { reduce, gather, scatter, broadcast, send, receive } kind;
  const void* in;
  void* out;
  std::size_t count;
  ncclDataType_t type;
  ncclRedOp_t op;
  int peer;  // or root
  cudaStream_t stream;
};

/// Runs `operation` with the other ranks, on the calling thread. Ranks that run
/// something else, or another size, leave ncclInvalidUsage in the communicator;
/// where it is aborted meanwhile, nothing has moved.
void execute(const FakeOperation& operation);

/// The sends and receives of one group and communicator: every rank exchanges
/// parts of one size with every rank.
void exchange(const std::vector<FakeOperation>& group);

}  // namespace mumoe::fakes

#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "base/error.h"
#include "dist/nccl/nccl_comm.h"
#include "dist/nccl/nccl_context.h"
#include "tests/fakes/fake_cuda_runtime.h"
#include "tests/fakes/fake_nccl.h"
#include "tests/support/mpi_main.h"

// What the tests of the NCCL backend over its fakes share. Every rank sets the
// same faults, unless a test says otherwise.

namespace mumoe::dist {

using namespace std::chrono_literals;

class OverFakes : public ::testing::Test {
 protected:
  OverFakes() {
    fakes::fake_cuda() = {};
    fakes::fake_nccl().reset();
    testing::mpi_world().barrier();
  }
  ~OverFakes() override {
    EXPECT_EQ(fakes::fake_nccl().misuse(), std::vector<std::string>());
    // It would be reported by LibTorch's next launch.
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    testing::mpi_world().barrier();
  }

  static int rank() { return testing::mpi_world().rank(); }
  static int size() { return testing::mpi_world().size(); }

  /// How often `function` of NCCL was called.
  static int calls(const std::string& function) {
    int count = 0;
    for (const auto& call : fakes::fake_nccl().log()) count += call == function;
    return count;
  }
};

/// `action` throws a `CommunicationError` of one line that holds all `parts`.
template <class Action>
void expect_communication_error(Action action,
                                std::initializer_list<std::string> parts) {
  try {
    action();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const CommunicationError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    for (const std::string& part : parts) {
      EXPECT_NE(text.find(part), std::string::npos)
          << "\"" << part << "\" is not in: " << text;
    }
  }
}

/// Rank 0's `id` on all ranks. Collective.
template <class Id>
Id of_rank_0(const Id& id) {
  static_assert(sizeof(Id) % sizeof(std::int64_t) == 0);
  const at::Tensor words =
      at::empty({sizeof(Id) / sizeof(std::int64_t)}, at::kLong);
  std::memcpy(words.data_ptr(), &id, sizeof(Id));
  testing::mpi_world().broadcast(words, 0);
  Id all;
  std::memcpy(&all, words.data_ptr(), sizeof(Id));
  return all;
}

/// A communicator of all ranks, without tensors.
inline std::unique_ptr<NcclComm> make_comm(
    std::shared_ptr<NcclContext> context,
    std::chrono::milliseconds deadline = 60s,
    std::string axis = "world") {
  const auto& world = testing::mpi_world();
  const NcclCall call{"start of the test", deadline};
  return std::make_unique<NcclComm>(std::move(context),
                                    of_rank_0(NcclComm::make_id(call)),
                                    world.rank(),
                                    world.size(),
                                    std::move(axis),
                                    call);
}

}  // namespace mumoe::dist

// Needs a GPU for each rank (labels gpu and, with several ranks, gpus): the
// suite over the real NCCL, and NCCL with one rank, of which the suite, where a
// group of one is an identity, sees nothing. Ranks are processes or threads
// (gpu_ranks.h).

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <thread>

#include "dist/nccl/cuda_tensors.h"
#include "dist/nccl/nccl_comm.h"
#include "dist/nccl/nccl_communicator.h"
#include "dist/nccl/nccl_context.h"
#include "dist/nccl/nccl_work.h"
#include "dist/process_mesh.h"
#include "tests/dist/communicator_suite.h"
#include "tests/dist/gpu_ranks.h"
#include "tests/dist/staged_communicator.h"
#include "tests/support/gpu.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;

using testing::over_gpus;

at::Device gpu(int device) {
  return {at::kCUDA, static_cast<at::DeviceIndex>(device)};
}

class Suite : public ::testing::TestWithParam<suite::NamedCheck> {};

TEST_P(Suite, OnGpus) {
  over_gpus([](Communicator& control, int device) {
    auto nccl = make_nccl_communicator(control, device);
    StagedCommunicator staged(std::move(nccl.communicator), gpu(device));
    GetParam().check(staged);
  });
}

INSTANTIATE_TEST_SUITE_P(Communicator,
                         Suite,
                         ::testing::ValuesIn(suite::kChecks),
                         [](const auto& info) { return info.param.name; });

/// NCCL's own communicator of this rank alone.
std::unique_ptr<NcclComm> make_alone() {
  const NcclCall call{"NCCL with one rank", 60s};
  return std::make_unique<NcclComm>(std::make_shared<NcclContext>(/*device=*/0),
                                    NcclComm::make_id(call),
                                    /*rank=*/0,
                                    /*size=*/1,
                                    "alone",
                                    call);
}

/// `operation` reads `in` and fills `out`; both are made and read on LibTorch's
/// stream.
template <class Operation>
at::Tensor run_alone(NcclComm& comm,
                     const at::Tensor& in,
                     const Operation& operation) {
  const at::Tensor out = at::full_like(in, -9);
  const std::shared_ptr<NcclComm> shared(&comm, [](NcclComm*) {});
  NcclWork work(
      shared,
      {"one rank", 60s},
      testing::gpu(),
      {in, out},
      [&](const NcclCall& call) { operation(in, out, call); },
      NcclWork::Waits::host);
  work.wait();
  return out;
}

TEST(NcclGpu, OneRankMovesItsOwn) {
  constexpr std::pair<NcclType, at::ScalarType> kTypes[] = {
      {NcclType::bf16, at::kBFloat16},
      {NcclType::fp32, at::kFloat},
      {NcclType::fp64, at::kDouble},
      {NcclType::int64, at::kLong}};
  const auto comm = make_alone();
  for (const auto& [type, dtype] : kTypes) {
    const at::Tensor in = suite::values(1001, 0).to(testing::gpu(), dtype);
    const auto data = [type = type](const at::Tensor& from,
                                    const at::Tensor& to) {
      return NcclData{from.data_ptr(), to.data_ptr(), 1001, type};
    };
    const auto expect_own = [&](const char* what, const auto& operation) {
      EXPECT_TRUE(at::equal(run_alone(*comm, in, operation), in))
          << what << " " << dtype;
    };
    using T = const at::Tensor&;
    using Call = const NcclCall&;
    for (const auto op : suite::kReductions) {
      expect_own("all_reduce", [&](T from, T to, Call call) {
        comm->all_reduce(data(from, to), op, call);
      });
      expect_own("reduce_scatter", [&](T from, T to, Call call) {
        comm->reduce_scatter(data(from, to), op, call);
      });
    }
    expect_own("all_gather", [&](T from, T to, Call call) {
      comm->all_gather(data(from, to), call);
    });
    expect_own("all_to_all", [&](T from, T to, Call call) {
      comm->all_to_all(data(from, to), call);
    });
    expect_own("broadcast", [&](T from, T to, Call call) {
      comm->broadcast(data(from, to), 0, call);
    });
  }
}

TEST(NcclGpu, OneRankSplitsAndAborts) {
  const NcclCall call{"NCCL with one rank", 60s};
  const auto comm = make_alone();
  const auto part = comm->split(3, 0, "part", call);
  ASSERT_NE(part, nullptr);
  EXPECT_EQ(part->size(), 1);
  EXPECT_EQ(comm->split(NcclComm::kNoGroup, 0, "none", call), nullptr);
  const at::Tensor one =
      at::ones({1}, at::TensorOptions(at::kLong).device(testing::gpu()));
  run_alone(*part, one, [&](const auto& in, const auto&, const NcclCall& of) {
    part->barrier(in.data_ptr(), of);
  });
  EXPECT_EQ(comm->context()->async_error(), "");
  EXPECT_TRUE(comm->context()->abort("the test ends", 30s));
  EXPECT_THROW(comm->check(call), CommunicationError);
}

TEST(NcclGpu, AMeshOfItsGroups) {
  over_gpus([](Communicator& control, int device) {
    const auto nccl = make_nccl_communicator(control, device);
    ProcessMesh mesh(control, 1, control.size(), nccl.communicator.get());
    const at::Tensor one =
        at::ones({1 << 18},
                 at::TensorOptions(at::kBFloat16).device(gpu(device)));
    for (int i = 0; i < 100; ++i) {
      mesh.tp().all_reduce(one, ReduceOp::avg);
      mesh.dp_tp().all_reduce(one, ReduceOp::max);
      mesh.dp().all_reduce(one);
    }
    EXPECT_EQ(one[12345].item<float>(), 1);
  });
}

// The host is free while operations wait for the stream before them.
TEST(NcclGpu, WaitOrdersStreamsWithoutBlocking) {
  over_gpus([](Communicator& control, int device) {
    const auto nccl = make_nccl_communicator(control, device);
    const at::TensorOptions there(gpu(device));
    const at::Tensor a = at::full({512, 512}, 1.0 / 512, there);
    at::Tensor x = at::ones({512, 512}, there);
    for (int i = 0; i < 60; ++i) {
      x = at::mm(a, x);  // all ones again
      nccl.communicator->all_reduce(x, ReduceOp::avg);
    }
    EXPECT_NEAR(x.sum().item<double>(), 512.0 * 512, 512.0 * 512 * 1e-3);
  });
}

TEST(NcclGpu, AbortEndsAnOperationThatOthersNeverJoin) {
  over_gpus([](Communicator& control, int device) {
    if (control.size() == 1) return;
    const auto nccl = make_nccl_communicator(control, device);
    // The first operation opens connections, for which it waits for all ranks.
    nccl.communicator->barrier();
    Work work;
    if (control.rank() == 0) {
      work = nccl.communicator->all_reduce_async(
          at::ones({100}, at::TensorOptions(gpu(device))));
    }
    std::this_thread::sleep_for(500ms);
    EXPECT_EQ(work.done(), control.rank() != 0);
    EXPECT_TRUE(nccl.abort("the test ends", 30s));
    if (control.rank() == 0) {
      EXPECT_THROW(work.wait(), CommunicationError);
    }
    control.barrier();
  });
}

}  // namespace
}  // namespace mumoe::dist

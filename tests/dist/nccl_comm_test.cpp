// The torch-free layer over the fakes: every operation, dtype and way to fail.

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <set>
#include <thread>

#include "tests/dist/communicator_suite.h"
#include "tests/dist/nccl_rig.h"
#include "tests/support/errors.h"

namespace mumoe::dist {
namespace {

using Names = std::vector<std::string>;

constexpr std::pair<NcclType, at::ScalarType> kTypes[] = {
    {NcclType::bf16, at::kBFloat16},
    {NcclType::fp32, at::kFloat},
    {NcclType::fp64, at::kDouble},
    {NcclType::int64, at::kLong}};

class Nccl : public OverFakes {
 protected:
  void check_reductions(NcclComm& comm, NcclType type, at::ScalarType dtype);
  void check_moves(NcclComm& comm, NcclType type, at::ScalarType dtype);

  /// What was queued on any rank has run.
  static void synchronize(const NcclComm& comm) {
    fakes::synchronize(comm.stream());
    testing::mpi_world().barrier();
  }

  std::shared_ptr<NcclContext> context_ = std::make_shared<NcclContext>(
      rank(),
      NcclContext::Limits{.close = 60s, .abort = 10s});
  NcclCall call_{"test of NCCL", 60s};
  at::Tensor data_ = at::ones({8}, at::kFloat);

  void sum(NcclComm& comm) {
    comm.all_reduce({data_.data_ptr(), data_.data_ptr(), 8, NcclType::fp32},
                    ReduceOp::sum,
                    call_);
  }
};

void Nccl::check_reductions(NcclComm& comm,
                            NcclType type,
                            at::ScalarType dtype) {
  constexpr std::int64_t kCount = 97;
  for (const auto op : suite::kReductions) {
    const auto in = suite::values(kCount, comm.rank()).to(dtype);
    const auto out = at::full({kCount}, -9, dtype);
    comm.all_reduce({in.data_ptr(), out.data_ptr(), kCount, type}, op, call_);
    const auto whole =
        suite::values(comm.size() * kCount, comm.rank()).to(dtype);
    const auto shard = at::full({kCount}, -9, dtype);
    comm.reduce_scatter({whole.data_ptr(), shard.data_ptr(), kCount, type},
                        op,
                        call_);
    synchronize(comm);
    suite::expect_equal(out,
                        suite::reduced(kCount, comm.size(), op, dtype),
                        fmt::format("all_reduce {} {}", to_string(op), dtype));
    suite::expect_equal(
        shard,
        suite::reduced(kCount, comm.size(), op, dtype, comm.rank() * kCount),
        fmt::format("reduce_scatter {} {}", to_string(op), dtype));
  }
}

void Nccl::check_moves(NcclComm& comm, NcclType type, at::ScalarType dtype) {
  constexpr std::int64_t kCount = 31;
  const int n = comm.size();
  const auto own = suite::values(kCount, comm.rank()).to(dtype);
  const auto all = at::full({n * kCount}, -9, dtype);
  comm.all_gather({own.data_ptr(), all.data_ptr(), kCount, type}, call_);
  std::vector<at::Tensor> sent, expected;
  for (int r = 0; r < n; ++r) {
    sent.push_back(suite::values(kCount, comm.rank() + 2 * r).to(dtype));
    expected.push_back(suite::values(kCount, r + 2 * comm.rank()).to(dtype));
  }
  const auto in = at::cat(sent), out = at::full({n * kCount}, -9, dtype);
  comm.all_to_all({in.data_ptr(), out.data_ptr(), kCount, type}, call_);
  const auto last = own.clone();
  comm.broadcast({last.data_ptr(), last.data_ptr(), kCount, type},
                 n - 1,
                 call_);
  synchronize(comm);
  for (int r = 0; r < n; ++r) {
    suite::expect_equal(all.narrow(0, r * kCount, kCount),
                        suite::values(kCount, r).to(dtype),
                        fmt::format("all_gather {}", dtype));
  }
  suite::expect_equal(out,
                      at::cat(expected),
                      fmt::format("all_to_all {}", dtype));
  suite::expect_equal(last,
                      suite::values(kCount, n - 1).to(dtype),
                      fmt::format("broadcast {}", dtype));
}

TEST_F(Nccl, EveryOperationAndType) {
  const auto comm = make_comm(context_);
  EXPECT_EQ(comm->rank(), rank());
  EXPECT_EQ(comm->size(), size());
  for (const auto& [type, dtype] : kTypes) {
    EXPECT_EQ(size_of(type), c10::elementSize(dtype));
    check_reductions(*comm, type, dtype);
    check_moves(*comm, type, dtype);
  }
}

TEST_F(Nccl, EveryOperationStartedLate) {
  const auto comm = make_comm(context_);
  fakes::fake_nccl().polls = 3;
  check_reductions(*comm, NcclType::fp32, at::kFloat);
  check_moves(*comm, NcclType::fp32, at::kFloat);
}

TEST_F(Nccl, OperationsWaitInTheStream) {
  const auto comm = make_comm(context_);
  std::promise<void> gate;
  fakes::push(comm->stream(),
              [open = gate.get_future().share()] { open.wait(); });
  at::Tensor word = at::zeros({1}, at::kLong);
  sum(*comm);
  comm->barrier(word.data_ptr(), call_);
  CudaEvent end(context_->device(), "test");
  EXPECT_TRUE(end.reached("test"));  // never recorded
  end.record(comm->stream(), "test");
  EXPECT_FALSE(end.reached("test"));
  EXPECT_EQ(data_[7].item<float>(), 1);
  gate.set_value();
  synchronize(*comm);
  EXPECT_TRUE(end.reached("test"));
  EXPECT_EQ(data_[7].item<float>(), size());
}

// What one group waits for, or moves, does not hold up another.
TEST_F(Nccl, GroupsDoNotWaitForEachOther) {
  const auto dp = make_comm(context_);
  const auto tp = dp->split(0, rank(), "tp", call_);
  EXPECT_NE(dp->stream(), tp->stream());
  std::promise<void> gate;
  fakes::push(dp->stream(), [open = gate.get_future().share()] {
    open.wait_for(20s);  // one stream for both fails instead of hanging
  });
  at::Tensor bucket = at::ones({1}, at::kLong);
  dp->barrier(bucket.data_ptr(), call_);
  sum(*tp);
  synchronize(*tp);
  EXPECT_EQ(data_[0].item<float>(), size());
  EXPECT_EQ(bucket.item<std::int64_t>(), 1);
  gate.set_value();
  synchronize(*dp);
  EXPECT_EQ(bucket.item<std::int64_t>(), size());
}

TEST_F(Nccl, StartsInTheOrderOfCalls) {
  constexpr const char* kName = "NCCL_LAUNCH_ORDER_IMPLICIT";
  EXPECT_STREQ(std::getenv(kName), "1");
  ::setenv(kName, "0", 1);
  testing::expect_input_error([] { NcclContext context(0); },
                              {"NCCL_LAUNCH_ORDER_IMPLICIT=0: expected 1"});
  ::setenv(kName, "1", 1);
  fakes::fake_nccl().version = 22512;
  testing::expect_input_error([] { NcclContext context(0); },
                              {"NCCL 2.25: expected 2.26 or later"});
}

TEST_F(Nccl, AGroupOfTwoCommunicators) {
  const auto one = make_comm(context_);
  const auto two = one->split(0, -rank(), "two", call_);
  EXPECT_EQ(two->rank(), size() - 1 - rank());
  for (const int polls : {0, 2}) {
    fakes::fake_nccl().reset();
    fakes::fake_nccl().polls = polls;
    data_.fill_(1);
    at::Tensor word = at::full({1}, two->rank(), at::kLong);
    context_->group(
        [&] {
          sum(*one);
          two->broadcast({word.data_ptr(), word.data_ptr(), 1, NcclType::int64},
                         size() - 1,
                         call_);
          sum(*one);
        },
        call_);
    synchronize(*one);
    synchronize(*two);
    EXPECT_EQ(data_[0].item<float>(), size() * size());
    EXPECT_EQ(word.item<std::int64_t>(), size() - 1);
    EXPECT_EQ(fakes::fake_nccl().log(),
              (Names{"ncclGroupStart",
                     "ncclAllReduce",
                     "ncclBroadcast",
                     "ncclAllReduce",
                     "ncclGroupEnd"}));
  }
}

TEST_F(Nccl, AGroupWhoseBodyThrowsIsEnded) {
  const auto comm = make_comm(context_);
  EXPECT_THROW(context_->group([] { throw std::runtime_error("body"); }, call_),
               std::runtime_error);
  EXPECT_THROW(context_->group([&] { context_->group([] {}, call_); }, call_),
               InternalError);
  EXPECT_EQ(calls("ncclGroupStart"), calls("ncclGroupEnd"));
  sum(*comm);
  synchronize(*comm);
  EXPECT_EQ(data_[0].item<float>(), size());
}

TEST_F(Nccl, SplitsByColorAndKey) {
  const auto comm = make_comm(context_);
  const auto part = comm->split(rank() % 2, -rank(), "part", call_);
  const int members = (size() + 1 - rank() % 2) / 2;
  EXPECT_EQ(part->size(), members);
  EXPECT_EQ(part->rank(), members - 1 - rank() / 2);
  sum(*part);
  synchronize(*part);
  EXPECT_EQ(data_[0].item<float>(), members);
  const bool in = rank() != 0;
  const auto rest = comm->split(in ? 7 : NcclComm::kNoGroup, 0, "rest", call_);
  EXPECT_EQ(rest != nullptr, in);
  if (rest) {
    EXPECT_EQ(rest->size(), size() - 1);
  }
}

TEST_F(Nccl, TheEndIsOrderly) {
  {
    const auto comm = make_comm(context_);
    const auto part = comm->split(0, rank(), "part", call_);
    sum(*part);
  }
  EXPECT_EQ(calls("ncclCommFinalize"), 2);
  EXPECT_EQ(calls("ncclCommDestroy"), 2);
  EXPECT_EQ(calls("ncclCommAbort"), 0);
  EXPECT_FALSE(context_->aborted());
  EXPECT_EQ(data_[0].item<float>(), size());
}

TEST_F(Nccl, ARefusedOperationIsNamed) {
  const auto comm = make_comm(context_);
  const NcclCall call{"rank 1 of 4 (axis dp), all_to_all #17", 60s};
  auto& nccl = fakes::fake_nccl();
  void* data = data_.data_ptr();
  const auto type = NcclType::fp32;
  const auto run = [&](const std::string& name) {
    if (name == "ncclAllReduce") {
      comm->all_reduce({data, data, 1, type}, ReduceOp::min, call);
    } else if (name == "ncclAllGather") {
      comm->all_gather({data, data, 0, type}, call);
    } else if (name == "ncclReduceScatter") {
      comm->reduce_scatter({data, data, 0, type}, ReduceOp::avg, call);
    } else if (name == "ncclBroadcast") {
      comm->broadcast({data, data, 1, type}, 0, call);
    } else {
      comm->all_to_all({data, data, 1, type}, call);
    }
  };
  for (const std::string name : {"ncclAllReduce",
                                 "ncclAllGather",
                                 "ncclReduceScatter",
                                 "ncclBroadcast",
                                 "ncclSend",
                                 "ncclRecv",
                                 "ncclGroupStart",
                                 "ncclGroupEnd"}) {
    nccl.reset();
    nccl.failing = name;
    nccl.result = ncclUnhandledCudaError;
    expect_communication_error(
        [&] { run(name); },
        {call.what + ": " + name, "another error (the last error of NCCL)"});
    EXPECT_EQ(calls("ncclGroupStart") - (name == "ncclGroupStart"),
              calls("ncclGroupEnd"))
        << name;
  }
  // Nothing was sent: the group is as before.
  nccl.reset();
  sum(*comm);
  synchronize(*comm);
  EXPECT_EQ(data_[0].item<float>(), size());
}

TEST_F(Nccl, AFailureWhileInProgressIsFound) {
  const auto comm = make_comm(context_);
  auto& nccl = fakes::fake_nccl();
  nccl.polls = 4;
  nccl.async_operation = 1;
  expect_communication_error([&] { sum(*comm); },
                             {"test of NCCL: ncclAllReduce", "remote error"});
  expect_communication_error([&] { comm->check(call_); },
                             {"test of NCCL: asynchronous error: remote"});
  EXPECT_NE(context_->async_error().find("NCCL, axis world: remote error"),
            std::string::npos)
      << context_->async_error();
  synchronize(*comm);
  nccl.polls = 0;
  nccl.failing = "ncclCommGetAsyncError";
  expect_communication_error([&] { comm->check(call_); },
                             {"ncclCommGetAsyncError: system error"});
  nccl.failing_call = 2;
  EXPECT_NE(context_->async_error().find("system error"), std::string::npos);
  EXPECT_TRUE(context_->abort("the test ends", 10s));
}

TEST_F(Nccl, AnErrorThatComesLater) {
  const auto comm = make_comm(context_);
  const auto part = comm->split(0, rank(), "tp", call_);
  fakes::fake_nccl().async_operation = 2;
  sum(*comm);
  EXPECT_EQ(context_->async_error(), "");
  EXPECT_NO_THROW(comm->check(call_));
  synchronize(*comm);  // both sum the same data
  sum(*part);
  EXPECT_NO_THROW(comm->check(call_));
  expect_communication_error([&] { part->check(call_); }, {"remote error"});
  EXPECT_NE(context_->async_error().find("axis tp"), std::string::npos);
  synchronize(*part);
  EXPECT_TRUE(context_->abort("found by the watchdog", 10s));
}

TEST_F(Nccl, MakingAGroupIsRefused) {
  auto& nccl = fakes::fake_nccl();
  nccl.failing = "ncclGetUniqueId";
  expect_communication_error([&] { NcclComm::make_id(call_); },
                             {"test of NCCL: ncclGetUniqueId: system error"});
  nccl.reset();
  nccl.failing = "ncclCommInitRankConfig";
  expect_communication_error([&] { make_comm(context_); },
                             {"start of the test: ncclCommInitRankConfig"});
  EXPECT_TRUE(context_->aborted());
  expect_communication_error(
      [&] { make_comm(context_); },
      {"start of the test: all NCCL communicators were aborted: start of"});
}

TEST_F(Nccl, SplittingIsRefused) {
  for (const std::string name : {"ncclCommSplit", "ncclCommCount"}) {
    const auto context = std::make_shared<NcclContext>(rank());
    const auto comm = make_comm(context);
    fakes::fake_nccl().reset();
    fakes::fake_nccl().failing = name;
    expect_communication_error([&] { comm->split(0, 0, "part", call_); },
                               {name, "system error"});
    context->abort("the test ends", 10s);
    EXPECT_EQ(calls("ncclCommAbort"), name == "ncclCommSplit" ? 1 : 2);
  }
}

TEST_F(Nccl, MakingAGroupHasADeadline) {
  fakes::fake_nccl().stuck_open = true;
  expect_communication_error(
      [&] { make_comm(context_, 200ms); },
      {"start of the test: ncclCommInitRankConfig: not finished after 0.2 s",
       "another rank is stuck or gone"});
  EXPECT_EQ(fakes::fake_nccl().log(),
            (Names{"ncclGetUniqueId",
                   "ncclCommInitRankConfig",
                   "ncclGroupStart",
                   "ncclCommAbort",
                   "ncclGroupEnd"}));
}

TEST_F(Nccl, SplittingHasADeadline) {
  const auto comm = make_comm(context_);
  fakes::fake_nccl().stuck_open = true;
  expect_communication_error(
      [&] {
        comm->split(0, rank(), "tp", {"split for axis tp", 200ms});
      },
      {"split for axis tp: ncclCommSplit: not finished after 0.2 s"});
  EXPECT_EQ(calls("ncclCommAbort"), 1);
  expect_communication_error([&] { sum(*comm); }, {"were aborted"});
}

TEST_F(Nccl, AnotherThreadAbortsWhatIsInProgress) {
  fakes::fake_nccl().stuck_open = true;
  std::thread watchdog([&] {
    std::this_thread::sleep_for(100ms);
    EXPECT_TRUE(context_->abort("the phase took too long", 10s));
  });
  expect_communication_error(
      [&] { make_comm(context_, 0ms); },
      {"start of the test", "were aborted: the phase took too long"});
  watchdog.join();
}

// NVIDIA/nccl issues 1013 and 1777: one communicator alone cannot be aborted
// while the device is held by another's operation.
TEST_F(Nccl, AllCommunicatorsAreAbortedTogether) {
  const auto comm = make_comm(context_);
  const auto dp = comm->split(0, rank(), "dp", call_);
  const auto tp = comm->split(0, rank(), "tp", call_);
  fakes::fake_nccl().reset();
  fakes::fake_nccl().stuck_operation = 1;
  sum(*tp);
  sum(*dp);
  sum(*comm);
  EXPECT_TRUE(context_->abort("rank 1 is gone", 10s));
  EXPECT_EQ(fakes::fake_nccl().log(),
            (Names{"ncclAllReduce",
                   "ncclAllReduce",
                   "ncclAllReduce",
                   "ncclGroupStart",
                   "ncclCommAbort",
                   "ncclCommAbort",
                   "ncclCommAbort",
                   "ncclGroupEnd"}));
  for (NcclComm* each : {comm.get(), dp.get(), tp.get()}) {
    synchronize(*each);  // the operations have left the stream
    expect_communication_error(
        [&] { sum(*each); },
        {"test of NCCL: all NCCL communicators were aborted: rank 1 is gone"});
    expect_communication_error([&] { each->check(call_); }, {"rank 1 is gone"});
  }
  expect_communication_error([&] { comm->split(0, 0, "x", call_); },
                             {"rank 1 is gone"});
  expect_communication_error([&] { context_->group([] {}, call_); },
                             {"rank 1 is gone"});
  EXPECT_EQ(context_->async_error(), "");
  EXPECT_TRUE(context_->abort("another reason", 0ms));
  expect_communication_error([&] { sum(*comm); }, {"rank 1 is gone"});
}

// NCCL starts an operation in less than the shortest sleep; thousands of looks
// with sleeps between them would take a minute.
TEST_F(Nccl, NothingSleepsWhileAnOperationStarts) {
  EXPECT_GE(NcclContext::Limits().spin, 100us);
  const auto context =
      std::make_shared<NcclContext>(rank(), NcclContext::Limits{.spin = 60s});
  const auto comm = make_comm(context);
  fakes::fake_nccl().polls = 5'000;
  const auto start = std::chrono::steady_clock::now();
  sum(*comm);
  context->group([&] { sum(*comm); }, call_);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
  fakes::fake_nccl().polls = 0;
}

// A context of another GPU takes half a GB of another rank's memory. Threads
// begin with GPU 0.
TEST_F(Nccl, NoThreadMakesAContextOnAnotherGpu) {
  fakes::fake_cuda().addresses.emplace_back("0000:05:00.0");
  const int device = rank() + 1;
  cudaSetDevice(0);
  fakes::forget_contexts();
  const auto context = std::make_shared<NcclContext>(device);
  std::int64_t word = 0;
  {
    const auto comm = make_comm(context);
    const auto part = comm->split(0, rank(), "part", call_);
    sum(*comm);
    part->barrier(&word, call_);
    CudaEvent end(device, "test");
    end.record(part->stream(), "test");
    std::thread([&] {
      context->async_error();
      part->check(call_);
    }).join();
    std::thread([&] { sum(*comm); }).join();
    std::thread([&] { context->group([] {}, call_); }).join();
    std::thread([&] { CudaEvent(device, "test"); }).join();
    std::thread([&] { end.record(comm->stream(), "test"); }).join();
    std::thread([&] { end.let_wait(part->stream(), "test"); }).join();
    std::thread([&] {
      while (!end.reached("test")) std::this_thread::sleep_for(1ms);
    }).join();
    auto another = std::make_unique<CudaEvent>(device, "test");
    std::thread([&] { another.reset(); }).join();
  }
  const auto comm = make_comm(context);
  EXPECT_TRUE(context->abort("the test ends", 10s));
  EXPECT_EQ(fakes::devices_with_contexts(), std::set<int>{device});
}

// That the fake hangs as the real one: else the test above proves nothing.
TEST_F(Nccl, AbortingOneAloneHangs) {
  ncclUniqueId id;
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t comms[2];
  for (ncclComm_t& comm : comms) {
    ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
    id = of_rank_0(id);
    ASSERT_EQ(ncclCommInitRankConfig(&comm, size(), id, rank(), &config),
              ncclInProgress);
    ncclResult_t state = ncclInProgress;
    while (state == ncclInProgress) {
      ASSERT_EQ(ncclCommGetAsyncError(comm, &state), ncclSuccess);
      std::this_thread::sleep_for(1ms);
    }
  }
  const cudaStream_t stream = context_->make_stream(call_);
  fakes::fake_nccl().stuck_operation = 1;
  ncclAllReduce(data_.data_ptr(),
                data_.data_ptr(),
                1,
                ncclFloat32,
                ncclSum,
                comms[0],
                stream);
  auto alone = std::async([&] { ncclCommAbort(comms[1]); });
  EXPECT_EQ(alone.wait_for(300ms), std::future_status::timeout);
  ncclCommAbort(comms[0]);
  alone.wait();
}

TEST_F(Nccl, AnAbortThatNeverEndsIsLeftBehind) {
  const auto comm = make_comm(context_);
  fakes::fake_nccl().stuck_abort = true;
  EXPECT_FALSE(context_->abort("stuck", 100ms));
  expect_communication_error([&] { sum(*comm); }, {"aborted: stuck"});
  fakes::fake_nccl().stuck_abort = false;
  EXPECT_TRUE(context_->abort("stuck", 10s));
}

// A watchdog that asks NCCL, which never answers, must not keep the abort.
TEST_F(Nccl, AnNcclThatNeverAnswersDoesNotKeepTheAbort) {
  const auto comm = make_comm(context_);
  auto& nccl = fakes::fake_nccl();
  nccl.stuck_ask = true;
  auto asked = std::async(std::launch::async,
                          [this] { return context_->async_error(); });
  while (nccl.asking == 0) std::this_thread::sleep_for(1ms);
  auto aborted = std::async(std::launch::async, [this] {
    return context_->abort("the phase took too long", 20s);
  });
  const auto state = aborted.wait_for(30s);
  nccl.stuck_ask = false;
  EXPECT_EQ(state, std::future_status::ready);
  EXPECT_TRUE(aborted.get());
  EXPECT_EQ(calls("ncclCommAbort"), 1);
  asked.wait();
}

TEST_F(Nccl, AnErrorThatEndsARankAborts) {
  try {
    const auto comm = make_comm(context_);
    const auto part = comm->split(0, rank(), "part", call_);
    fakes::fake_nccl().stuck_operation = 1;
    sum(*part);
    throw std::runtime_error("out of memory");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(calls("ncclCommFinalize"), 0);
  EXPECT_EQ(calls("ncclCommAbort"), 2);
  expect_communication_error([&] { make_comm(context_); },
                             {"(axis part), end of NCCL: an error ends"});
}

TEST_F(Nccl, AnEndThatOtherRanksDoNotReachHasALimit) {
  const auto context = std::make_shared<NcclContext>(
      rank(),
      NcclContext::Limits{.close = 200ms, .abort = 10s});
  auto comm = make_comm(context);
  fakes::fake_nccl().stuck_finalize = true;
  ::testing::internal::CaptureStderr();
  comm.reset();
  const auto text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find(fmt::format("rank {} of {} (axis world), end of NCCL: "
                                  "ncclCommFinalize: not finished after 0.2 s",
                                  rank(),
                                  size())),
            std::string::npos)
      << text;
  EXPECT_EQ(calls("ncclCommAbort"), 1);
  EXPECT_EQ(calls("ncclCommDestroy"), 0);
}

TEST_F(Nccl, AnEndThatNcclRefuses) {
  for (const std::string name : {"ncclCommFinalize", "ncclCommDestroy"}) {
    const auto context = std::make_shared<NcclContext>(rank());
    auto comm = make_comm(context);
    fakes::fake_nccl().reset();
    fakes::fake_nccl().failing = name;
    ::testing::internal::CaptureStderr();
    comm.reset();
    const auto text = ::testing::internal::GetCapturedStderr();
    EXPECT_NE(text.find("end of NCCL: " + name), std::string::npos) << text;
    EXPECT_TRUE(context->aborted());
  }
}

TEST_F(Nccl, AFailureOfCudaIsNamed) {
  auto& cuda = fakes::fake_cuda();
  cuda.failing = "cudaSetDevice";
  expect_communication_error([] { NcclContext context(0); },
                             {"start of NCCL, GPU 0: cudaSetDevice",
                              "cudaErrorOfTheFake, CUDA's text"});
  cuda.failing = "cudaStreamCreateWithFlags";
  expect_communication_error([&] { make_comm(context_); },
                             {"start of the test: cudaStreamCreateWithFlags"});
  cuda = {};
  expect_communication_error([] { NcclContext context(9); },
                             {"GPU 9: cudaSetDevice(device)"});
  CudaEvent event(0, "test");
  const cudaStream_t stream = context_->make_stream(call_);
  for (const std::string name :
       {"cudaEventRecord", "cudaStreamWaitEvent", "cudaEventQuery"}) {
    cuda.failing = name;
    expect_communication_error(
        [&] {
          event.record(stream, "all_reduce #1");
          event.let_wait(stream, "all_reduce #1");
          event.reached("all_reduce #1");
        },
        {"all_reduce #1: " + name});
  }
  cuda.failing = "cudaEventCreateWithFlags";
  expect_communication_error([] { CudaEvent failed(0, "all_reduce #2"); },
                             {"all_reduce #2: cudaEventCreateWithFlags"});
  cuda = {};
}

}  // namespace
}  // namespace mumoe::dist

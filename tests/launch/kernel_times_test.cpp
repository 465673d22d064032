// launch/gpu/kernel_times.cpp over a CUPTI that gives it records made here.

#include <cupti.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "tests/support/scratch.h"

extern "C" int InitializeInjection();

namespace {

CUpti_BuffersCallbackRequestFunc give_buffer = nullptr;
CUpti_BuffersCallbackCompleteFunc take_buffer = nullptr;
std::size_t next_record = 0;
std::set<CUpti_ActivityKind> enabled;
CUptiResult answer = CUPTI_SUCCESS;

template <class Record>
Record record(CUpti_ActivityKind kind, std::uint64_t start, std::uint64_t end) {
  Record made = {};
  made.kind = kind;
  made.start = start;
  made.end = end;
  return made;
}

template <class... Records>
void deliver(const Records&... records) {
  std::uint8_t* buffer = nullptr;
  std::size_t size = 0, most = 1, filled = 0;
  give_buffer(&buffer, &size, &most);
  const auto put = [&](const auto& of) {
    std::memcpy(buffer + filled, &of, sizeof of);
    filled += sizeof of;
  };
  (put(records), ...);
  ASSERT_LE(filled, size);
  EXPECT_EQ(most, 0);
  next_record = 0;
  take_buffer(nullptr, 0, buffer, size, filled);
}

std::size_t size_of(const CUpti_Activity& of) {
  return of.kind == CUPTI_ACTIVITY_KIND_MEMCPY ? sizeof(CUpti_ActivityMemcpy6)
                                               : sizeof(CUpti_ActivityKernel10);
}

}  // namespace

extern "C" {
CUptiResult cuptiActivityRegisterCallbacks(
    CUpti_BuffersCallbackRequestFunc give,
    CUpti_BuffersCallbackCompleteFunc take) {
  give_buffer = give;
  take_buffer = take;
  return answer;
}

CUptiResult cuptiActivityEnable(CUpti_ActivityKind kind) {
  enabled.insert(kind);
  return answer;
}

CUptiResult cuptiActivityFlushAll(std::uint32_t) {
  auto kernel =
      record<CUpti_ActivityKernel10>(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                                     7'000'000,
                                     8'000'000);
  kernel.name = "last";
  deliver(kernel);
  return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityGetNextRecord(std::uint8_t* buffer,
                                       std::size_t filled,
                                       CUpti_Activity** found) {
  if (next_record >= filled) return CUPTI_ERROR_MAX_LIMIT_REACHED;
  *found = reinterpret_cast<CUpti_Activity*>(buffer + next_record);
  next_record += size_of(**found);
  return CUPTI_SUCCESS;
}
}

namespace {

// What is written comes when a process ends: in one of its own.
void run_and_exit(const std::string& file) {
  ::setenv("MUMOE_KERNEL_TIMES", file.c_str(), 1);
  if (InitializeInjection() != 1 || enabled.size() != 3) std::_Exit(9);
  const auto kind = CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL;
  auto first = record<CUpti_ActivityKernel10>(kind, 1'000, 1'501'000);
  first.name = "_Z4gatePKf";
  auto second = record<CUpti_ActivityKernel10>(kind, 2'000'000, 2'500'000);
  second.name = "_Z4gatePKf";
  auto odd = record<CUpti_ActivityKernel10>(kind, 0, 1'000'000);
  odd.name = "of \"quotes\" \\";
  auto copy = record<CUpti_ActivityMemcpy6>(CUPTI_ACTIVITY_KIND_MEMCPY, 0, 500);
  copy.copyKind = CUPTI_ACTIVITY_MEMCPY_KIND_HTOD;
  deliver(first, copy, second);
  deliver(odd);
  std::exit(0);
}

TEST(KernelTimes, SumsByName) {
  const mumoe::testing::ScratchFolder scratch;
  const auto file = scratch.path() / "times";
  EXPECT_EXIT(run_and_exit(file.string()), ::testing::ExitedWithCode(0), "");
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  EXPECT_EQ(text.str(),
            R"json({"kernel":"gate(float const*)","calls":2,"ms":2.000000}
{"kernel":"copy to the device","calls":1,"ms":0.000500}
{"kernel":"last","calls":1,"ms":1.000000}
{"kernel":"of \"quotes\" \\","calls":1,"ms":1.000000}
)json");
}

TEST(KernelTimes, SaysWhenCuptiDoesNotRecord) {
  EXPECT_EXIT(
      {
        answer = CUPTI_ERROR_INSUFFICIENT_PRIVILEGES;
        std::_Exit(InitializeInjection());
      },
      ::testing::ExitedWithCode(1),
      "kernel_times: CUPTI does not record kernels here");
}

}  // namespace

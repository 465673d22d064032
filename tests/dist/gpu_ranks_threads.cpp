#include <gtest/gtest.h>

#include <chrono>

#include "dist/nccl/nccl_communicator.h"
#include "tests/dist/gpu_ranks.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::testing {

void over_gpus(const std::function<void(dist::Communicator&, int)>& body) {
  const dist::DevicePlace first = dist::device_place(0);
  ASSERT_EQ(first.fault, "");
  ASSERT_GT(first.visible, 0);
  dist::ThreadWorld::run(first.visible, [&body](dist::Communicator& control) {
    control.set_deadline(std::chrono::seconds(60));
    dist::use_gpu(control.rank());
    body(control, control.rank());
  });
}

}  // namespace mumoe::testing

#include <gtest/gtest.h>

#include <cstdlib>

int main(int argc, char** argv) {
  // As the program's main does (dist/nccl/nccl_context.h).
  ::setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", /*overwrite=*/0);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

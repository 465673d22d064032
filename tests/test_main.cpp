#include <gtest/gtest.h>

#include "dist/gpu_environment.h"

int main(int argc, char** argv) {
  mumoe::dist::set_gpu_environment();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

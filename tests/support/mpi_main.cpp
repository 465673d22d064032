#include "tests/support/mpi_main.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "dist/gpu_environment.h"

namespace mumoe::testing {
namespace {

// gtest passes no arguments to tests.
dist::MpiRuntime* runtime = nullptr;

// Only rank 0 tells its progress; every rank tells its failures.
class Failures : public ::testing::EmptyTestEventListener {
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr,
                 "rank %d: %s:%d: %s\n",
                 mpi_world().rank(),
                 result.file_name() ? result.file_name() : "?",
                 result.line_number(),
                 result.message());
  }
};

int run_all() {
  auto& world = mpi_world();
  world.set_deadline(std::chrono::seconds(120));
  if (world.rank() != 0) {
    auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new Failures);
  }
  const int failed = RUN_ALL_TESTS();
  const auto any = at::full({1}, failed, at::kLong);
  world.all_reduce(any, dist::ReduceOp::max);
  return static_cast<int>(any.item<std::int64_t>());
}

}  // namespace

dist::MpiRuntime& mpi_runtime() {
  return *runtime;
}

}  // namespace mumoe::testing

int main(int argc, char** argv) {
  mumoe::dist::set_gpu_environment();
  ::testing::InitGoogleTest(&argc, argv);
  std::optional<mumoe::dist::MpiRuntime> mpi;
  try {
    mpi.emplace();
    mumoe::testing::runtime = &*mpi;
    return mumoe::testing::run_all();
  } catch (const mumoe::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    if (mpi) mpi->abort(error.exit_code());
    return static_cast<int>(error.exit_code());
  }
}

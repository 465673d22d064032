// One rank fails in the way that the argument names; failures.sh starts this
// under mpirun and checks how the job ends.

#include <ATen/ATen.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>
#include <thread>

#include "base/error.h"
#include "dist/mpi_runtime.h"

namespace {

using namespace mumoe;
using namespace std::chrono_literals;

// What rank 1 does instead of its second operation.
void fail_as(const std::string& how) {
  if (how == "throw") throw NonFiniteError("rank 1: the loss is not finite");
  if (how == "kill") raise(SIGKILL);
  while (how == "sleep") std::this_thread::sleep_for(1s);
}

int run(const std::string& how, std::optional<dist::MpiRuntime>& mpi) {
  mpi.emplace(dist::MpiRuntime::Limits{.finalize = 3s, .abort = 5s});
  auto& world = mpi->world();
  std::printf("pid %d\n", getpid());
  std::fflush(stdout);
  world.set_deadline(how == "sleep" ? 2'000ms : 60'000ms);
  world.set_phase("forward");
  const auto tensor = at::ones({1000}, at::kFloat);
  world.all_reduce(tensor);
  world.set_phase("backward");
  if (how == "finalize") {  // rank 1 ends, rank 0 never does
    while (world.rank() == 0) std::this_thread::sleep_for(1s);
    return 0;
  }
  if (world.rank() == 1) fail_as(how);
  world.all_reduce(tensor);
  return 0;
}

// The runtime inside of the `try`: its end must not wait for the others.
int unwind() {
  try {
    dist::MpiRuntime mpi;
    std::printf("pid %d\n", getpid());
    std::fflush(stdout);
    if (mpi.world().rank() == 1) throw InputError("rank 1: no such file");
    mpi.world().barrier();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
  return 0;
}

}  // namespace

int main(int, char** argv) {
  const std::string how = argv[1];
  if (how == "unwind") return unwind();
  std::optional<dist::MpiRuntime> mpi;
  try {
    const int code = run(how, mpi);
    mpi.reset();
    return code;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    if (mpi) mpi->abort(error.exit_code());
    return static_cast<int>(error.exit_code());
  }
}

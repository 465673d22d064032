// Two ranks on NCCL's fake, watched as a training run is, of which NCCL fails
// as the argument says; failures.sh starts this under mpirun and checks how the
// job ends.

#include <ATen/ATen.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>
#include <thread>

#include "base/error.h"
#include "dist/gpu_environment.h"
#include "dist/mpi/mpi_runtime.h"
#include "dist/nccl/nccl_communicator.h"
#include "dist/process_mesh.h"
#include "dist/watch/watchdog.h"
#include "tests/fakes/fake_nccl.h"

namespace {

using namespace mumoe;
using namespace std::chrono_literals;

void run(const std::string& how, std::optional<dist::MpiRuntime>& mpi) {
  mpi.emplace();
  std::printf("pid %d\n", getpid());
  std::fflush(stdout);
  auto& fake = fakes::fake_nccl();
  auto& world = mpi->world();
  world.set_deadline(60s);
  const dist::NcclWorld nccl =
      dist::make_nccl_communicator(world, world.rank());
  dist::ProcessMesh mesh(world, 2, 1, nccl.communicator.get());
  dist::Watchdog watchdog(
      mesh,
      {.deadlines = {.first_step = 1s},
       .grace = 500ms,
       .polls = {nccl.async_error},
       .note = {},
       .aborts = {[abort = nccl.abort] { abort("the watchdog's", 5s); }},
       .print =
           [](const std::string& line) {
             std::fprintf(stderr, "%s\n", line.c_str());
           },
       .end = [&mpi] { mpi->abort(ExitCode::communication); }});
  mesh.observe(watchdog);
  mesh.set_phase("backward");
  const at::Tensor data = at::ones({1000});
  mesh.dp().all_reduce(data);

  fake.reset();
  if (how == "error") {
    fake.async_operation = 1;
  } else {
    fake.stuck_operation = 1;
  }
  fake.stuck_abort = how == "stuck_abort";
  const dist::Work work = mesh.dp().all_reduce_async(data);
  while (how == "error") std::this_thread::sleep_for(1s);  // computes
  work.wait();
  // Aborted, it looks done: whatever comes next must not go on with it.
  mesh.dp().barrier();
  std::fprintf(stderr, "nobody noticed\n");
}

}  // namespace

int main(int, char** argv) {
  dist::set_gpu_environment();
  std::optional<dist::MpiRuntime> mpi;
  try {
    run(argv[1], mpi);
    mpi.reset();
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    if (mpi) mpi->abort(error.exit_code());
    return static_cast<int>(error.exit_code());
  }
}

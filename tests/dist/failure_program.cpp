// One rank fails in the way that the argument names; failures.sh starts this
// under mpirun and checks how the job ends.

#include <ATen/ATen.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

#include "base/error.h"
#include "dist/mpi/mpi_runtime.h"
#include "dist/process_mesh.h"
#include "dist/watch/fingerprint.h"
#include "dist/watch/watchdog.h"

namespace {

using namespace mumoe;
using namespace std::chrono_literals;

// What rank 1 does instead of its second operation.
void fail_as(const std::string& how) {
  if (how == "throw") throw NonFiniteError("rank 1: the loss is not finite");
  if (how == "kill") raise(SIGKILL);
  while (how == "sleep") std::this_thread::sleep_for(1s);
}

// As long as MPI has not started, only the launcher knows.
bool is_rank_1() {
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  return rank != nullptr && rank == std::string("1");
}

int run(const std::string& how, std::optional<dist::MpiRuntime>& mpi) {
  std::printf("pid %d\n", getpid());
  std::fflush(stdout);
  while (how == "start" && is_rank_1()) std::this_thread::sleep_for(1s);
  mpi.emplace(dist::MpiRuntime::Limits{.start = how == "start" ? 2s : 60s,
                                       .finalize = 3s,
                                       .abort = 5s});
  auto& world = mpi->world();
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

// Rank 1 calls something else than rank 0 in its second operation, and goes on;
// watched as a training run is; `compare`: collectives are compared.
int run_watched(const std::string& how,
                bool compare,
                std::optional<dist::MpiRuntime>& mpi) {
  mpi.emplace();
  std::printf("pid %d\n", getpid());
  std::fflush(stdout);
  dist::ProcessMesh mesh(mpi->world(), 2, 1);
  mesh.set_deadline(60s);
  dist::Watchdog watchdog(
      mesh,
      {.deadlines = {.first_step = 2s},
       .grace = 1s,
       .polls = {},
       .note = {},
       .aborts = {},
       .print =
           [](const std::string& line) {
             std::fprintf(stderr, "%s\n", line.c_str());
           },
       .end = [&mpi] { mpi->abort(ExitCode::communication); }});
  mesh.observe(watchdog);
  std::optional<dist::FingerprintCheck> check;
  if (compare) mesh.observe(check.emplace(mesh));
  const bool odd = mesh.dp().rank() == 1;
  mesh.set_phase("backward");
  mesh.dp().all_reduce(at::ones({1000}));
  if (how == "skip") {
    if (!odd) mesh.dp().all_reduce(at::ones({1000}));
  } else if (how == "small_shapes") {
    mesh.dp().all_reduce(at::ones({odd ? 12 : 16}));
  } else if (how == "large_shapes") {
    mesh.dp().all_reduce(at::ones({odd ? 100'000 : 200'000}));
  }
  mesh.set_phase("check");
  mesh.dp().broadcast(at::ones({8}), 0);
  mesh.control().barrier();
  std::fprintf(stderr, "nobody noticed\n");
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

int main(int argc, char** argv) {
  const std::string how = argv[1];
  const std::string mode = argc > 2 ? argv[2] : "";  // watched, compared
  if (how == "unwind") return unwind();
  std::optional<dist::MpiRuntime> mpi;
  try {
    const int code = mode.empty() ? run(how, mpi)
                                  : run_watched(how, mode == "compared", mpi);
    mpi.reset();
    return code;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    if (mpi) mpi->abort(error.exit_code());
    return static_cast<int>(error.exit_code());
  }
}

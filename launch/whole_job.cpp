#include "launch/whole_job.h"

#include <cstdlib>

#include "base/error.h"

namespace mumoe::launch {

void require_whole_job(int ranks) {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  // mpirun's ranks inherit the variables of the step that started its daemons.
  if (tasks == nullptr || std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) {
    return;
  }
  require(ranks > 1 || std::atoi(tasks) <= 1,
          "srun started {} processes, but MPI knows of one: expected srun "
          "--mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH), whichever `srun "
          "--mpi=list` has, or launch/mpirun inside the allocation",
          tasks);
}

}  // namespace mumoe::launch

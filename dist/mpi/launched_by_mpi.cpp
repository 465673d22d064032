#include <cstdlib>

#include "dist/mpi/mpi_runtime.h"

namespace mumoe::dist {

bool MpiRuntime::launched_by_mpi() {
  // Open MPI; PMI-1 and PMI-2 (MPICH, Intel, srun); PMIx; MVAPICH.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE",
                           "PMI_RANK",
                           "PMI_SIZE",
                           "PMIX_RANK",
                           "MV2_COMM_WORLD_SIZE"}) {
    if (std::getenv(name)) return true;
  }
  return false;
}

}  // namespace mumoe::dist

#pragma once

#include "dist/mpi/mpi_runtime.h"

namespace mumoe::testing {

/// The runtime of a test binary started by mpirun; its main() is in
/// mpi_main.cpp. Every rank runs all tests in the same order, and all fail when
/// one does.
dist::MpiRuntime& mpi_runtime();

inline dist::Communicator& mpi_world() {
  return mpi_runtime().world();
}

}  // namespace mumoe::testing

// In place of the MPI backend, in a program without MPI: one process is one
// rank.
#include "base/error.h"
#include "dist/mpi/mpi_runtime.h"

namespace mumoe::dist {

struct MpiRuntime::State {};

// Without a runtime nothing else here is called.
MpiRuntime::MpiRuntime(Limits) {
  fail<InputError>(
      "this program was built without MPI (MUMOE_MPI=OFF) and runs as one "
      "rank, but a launcher has started it as one of a job");
}

MpiRuntime::~MpiRuntime() = default;

Communicator& MpiRuntime::world() const {
  fail<InternalError>("no MPI");
}

std::unique_ptr<Communicator> MpiRuntime::duplicate_world(std::string,
                                                          std::int64_t) const {
  fail<InternalError>("no MPI");
}

std::shared_ptr<const LocalPeers> MpiRuntime::peers() const {
  return nullptr;
}

int MpiRuntime::local_rank() const {
  return 0;
}

int MpiRuntime::local_size() const {
  return 1;
}

void MpiRuntime::abort(ExitCode code) const {
  std::_Exit(static_cast<int>(code));
}

}  // namespace mumoe::dist

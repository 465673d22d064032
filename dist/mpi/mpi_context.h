#pragma once

#include <mpi.h>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "dist/mpi/mpi_ops.h"
#include "dist/mpi/mpi_thread.h"

namespace mumoe::dist {

/// Memory that operations borrow: fresh pages cost more than the operation.
/// Holds as much as was in use at once; a request that no free buffer can
/// serve replaces one. Thread-safe.
class StagingPool {
 public:
  /// Memory that returns to `pool` with the last copy of the pointer.
  static std::shared_ptr<std::byte[]> borrow(
      const std::shared_ptr<StagingPool>& pool,
      std::size_t bytes);

 private:
  std::mutex mutex_;
  std::multimap<std::size_t, std::unique_ptr<std::byte[]>> free_;  // by size
};

/// What all communicators of one runtime share.
struct MpiContext {
  std::shared_ptr<MpiThread> thread;
  std::shared_ptr<StagingPool> staging = std::make_shared<StagingPool>();
  MpiOps ops{};
};

/// A communicator's handle. Operations hold it while they are under way; the
/// MPI thread frees it after the last.
struct MpiGroup {
  MpiGroup(std::shared_ptr<const MpiContext> the_context, MPI_Comm the_comm)
      : context(std::move(the_context)), comm(the_comm) {}
  ~MpiGroup();
  MpiGroup(const MpiGroup&) = delete;
  MpiGroup& operator=(const MpiGroup&) = delete;

  std::shared_ptr<const MpiContext> context;
  MPI_Comm comm;
};

}  // namespace mumoe::dist

#pragma once

#include <mpi.h>

#include <cstdint>
#include <memory>
#include <string>

#include "dist/communicator.h"

namespace mumoe::dist {

/// Most elements one call of MPI moves; its counts are of type int.
inline constexpr std::int64_t kMpiMaxCount = std::int64_t{1} << 30;

struct MpiContext;

/// The communicator over `comm`, which it takes over and frees on the MPI
/// thread. Tensors live on the CPU. Larger operations are cut into calls of at
/// most `max_count` elements; groups from `split` do likewise.
///
/// reduce_scatter, and all_reduce from 64 KiB on, exchange segments between
/// pairs of ranks and reduce in rank order (MpiPeerReduction); a smaller
/// all_reduce is MPI_Iallreduce. The other operations are MPI's. `avg` is the
/// sum divided by the ranks (int64: truncating).
///
/// `split`: concurrent splits of two communicators with ranks in common must
/// be called in one order on all ranks.
std::unique_ptr<Communicator> make_mpi_communicator(
    std::shared_ptr<const MpiContext> context,
    MPI_Comm comm,
    int rank,
    int size,
    std::string axis,
    std::int64_t max_count);

/// Collective over `world`: another communicator of the same ranks, with its
/// own order of operations. `world` is one of `make_mpi_communicator`.
std::unique_ptr<Communicator> duplicate(Communicator& world,
                                        std::string axis,
                                        std::int64_t max_count);

}  // namespace mumoe::dist

#pragma once

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dist/communicator.h"

namespace mumoe::dist {

class MpiThread;

/// The reductions MPI does not have: min and max in which a NaN always wins
/// (MPI's own keep either operand, by implementation), and everything for
/// bf16, which travels as MPI_UINT16_T, is added in pairs in fp32 and rounded
/// to nearest even after each. Commutative to the bit, so all ranks end with
/// the same bits.
///
/// Plain handles: `create` and `free` on the MPI thread, by the runtime.
struct MpiOps {
  static MpiOps create();
  void free();

  MPI_Op float_min, float_max;
  MPI_Op double_min, double_max;
  MPI_Op bf16_sum, bf16_min, bf16_max;
};

/// Most elements one call of MPI moves; its counts are of type int.
inline constexpr std::int64_t kMpiMaxCount = std::int64_t{1} << 30;

/// Memory that operations borrow: fresh pages cost more than the operation.
/// Holds as much as was in use at once; a request that no free buffer can
/// serve replaces one. Thread-safe.
class StagingPool {
 public:
  struct Buffer {
    std::unique_ptr<std::byte[]> data;
    std::size_t size = 0;
  };
  Buffer take(std::size_t bytes);
  void give_back(Buffer buffer);

 private:
  std::mutex mutex_;
  std::vector<Buffer> free_;
};

/// What all communicators of one runtime share.
struct MpiContext {
  std::shared_ptr<MpiThread> thread;
  std::shared_ptr<StagingPool> staging = std::make_shared<StagingPool>();
  MpiOps ops{};
};

/// The communicator over `comm`, which it takes over and frees on the MPI
/// thread. Tensors live on the CPU. Larger operations are cut into calls of at
/// most `max_count` elements; groups from `split` do likewise.
///
/// reduce_scatter is MPI_Ialltoall into memory of the size of `whole`, then a
/// reduction in rank order on the MPI thread: each byte travels once, bf16 is
/// rounded once, and the sum does not depend on the MPI library. all_reduce
/// from 64 KiB on does the same by intervals, and gathers them; a smaller one
/// is MPI_Iallreduce. `avg` is the sum divided by the ranks (int64:
/// truncating).
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

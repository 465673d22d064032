#pragma once

#include <ATen/core/Tensor.h>
#include <mpi.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "dist/communicator.h"

namespace mumoe::dist {

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

  /// The operation for one pair of elements; `avg` is `sum`.
  MPI_Op get(at::ScalarType type, ReduceOp op) const;

  /// fp32 min and max, fp64 min and max, bf16 min, max and sum.
  std::array<MPI_Op, 7> own;
};

/// What MPI calls a dtype; bf16 is MPI_UINT16_T.
MPI_Datatype mpi_type(at::ScalarType type);
/// Element `index` of a contiguous tensor.
std::byte* at_element(const at::Tensor& tensor, std::int64_t index);

}  // namespace mumoe::dist

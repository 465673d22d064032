#pragma once

#include <ATen/core/Tensor.h>
#include <mpi.h>

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

  MPI_Op float_min, float_max;
  MPI_Op double_min, double_max;
  MPI_Op bf16_sum, bf16_min, bf16_max;
};

/// What MPI calls a dtype; bf16 is MPI_UINT16_T.
MPI_Datatype mpi_type(at::ScalarType type);
/// Element `index` of a contiguous tensor.
std::byte* at_element(const at::Tensor& tensor, std::int64_t index);

}  // namespace mumoe::dist

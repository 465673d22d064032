#include "dist/mpi/mpi_ops.h"

#include "base/error.h"
#include "dist/mpi/mpi_thread.h"
#include "dist/mpi/reduction.h"
#include "dist/torch_text.h"

namespace mumoe::dist {
namespace {

template <at::ScalarType kType, ReduceOp kOp>
void user_reduction(void* in, void* inout, int* count, MPI_Datatype*) {
  reduce_pair(kType, kOp, in, inout, *count);
}

template <at::ScalarType kType, ReduceOp kOp>
MPI_Op create_op() {
  MPI_Op op = MPI_OP_NULL;
  MUMOE_MPI_CHECK(MPI_Op_create(&user_reduction<kType, kOp>, 1, &op),
                  "start of MPI");
  return op;
}

}  // namespace

MpiOps MpiOps::create() {
  MpiOps ops;
  ops.float_min = create_op<at::kFloat, ReduceOp::min>();
  ops.float_max = create_op<at::kFloat, ReduceOp::max>();
  ops.double_min = create_op<at::kDouble, ReduceOp::min>();
  ops.double_max = create_op<at::kDouble, ReduceOp::max>();
  ops.bf16_sum = create_op<at::kBFloat16, ReduceOp::sum>();
  ops.bf16_min = create_op<at::kBFloat16, ReduceOp::min>();
  ops.bf16_max = create_op<at::kBFloat16, ReduceOp::max>();
  return ops;
}

void MpiOps::free() {
  for (MPI_Op* op : {&float_min,
                     &float_max,
                     &double_min,
                     &double_max,
                     &bf16_sum,
                     &bf16_min,
                     &bf16_max}) {
    MPI_Op_free(op);
  }
}

MPI_Datatype mpi_type(at::ScalarType type) {
  switch (type) {
    case at::kBFloat16:
      return MPI_UINT16_T;
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kLong:
      return MPI_INT64_T;
    default:
      fail<InternalError>("dtype {} has no MPI type", type);
  }
}

std::byte* at_element(const at::Tensor& tensor, std::int64_t index) {
  return static_cast<std::byte*>(tensor.data_ptr()) +
         index * static_cast<std::int64_t>(tensor.element_size());
}

MPI_Op MpiOps::get(at::ScalarType type, ReduceOp op) const {
  const bool sum = op == ReduceOp::sum || op == ReduceOp::avg;
  const bool min = op == ReduceOp::min;
  switch (type) {
    case at::kBFloat16:
      return sum ? bf16_sum : min ? bf16_min : bf16_max;
    case at::kFloat:
      return sum ? MPI_SUM : min ? float_min : float_max;
    case at::kDouble:
      return sum ? MPI_SUM : min ? double_min : double_max;
    default:
      return sum ? MPI_SUM : min ? MPI_MIN : MPI_MAX;
  }
}

}  // namespace mumoe::dist

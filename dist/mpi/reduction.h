#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "dist/communicator.h"

namespace mumoe::dist {

// Element-wise reductions that the CPU backends share. All are commutative to
// the bit, so that every rank ends with the same bits whatever the order of a
// pair: a NaN in either operand wins in min and max (and is made the canonical
// one), max(-0, +0) is +0 and min(-0, +0) is -0. int64 sums wrap around.
//
// Plain loops on the calling thread: no ATen call, no OpenMP team, so that a
// progress thread may use them. Thread-safe: they touch only their arguments.

/// Reduces `count` elements of every part, in the order of `parts`, into
/// `out`. bf16 is accumulated in fp32 and rounded once, to nearest even. `avg`
/// divides by the number of parts (int64: truncating). `out` may be one of the
/// parts; it must not overlap any of them otherwise.
void reduce_parts(at::ScalarType type,
                  ReduceOp op,
                  std::span<const void* const> parts,
                  void* out,
                  std::int64_t count);

/// `inout` = `in` ∘ `inout`; `avg` sums. The form of an MPI_User_function.
void reduce_pair(at::ScalarType type,
                 ReduceOp op,
                 const void* in,
                 void* inout,
                 std::int64_t count);

/// Divides `count` elements by `divisor`: the second half of `avg`.
void divide(at::ScalarType type, void* data, std::int64_t count, int divisor);

}  // namespace mumoe::dist

#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "mumoe/kernels/bf16.h"

// Every family of kernels is a struct of function pointers, `K<E>` for element
// type E, and has a table of such structs: a row for each instruction set, one
// for CUDA and one for LibTorch's meta device. Free of LibTorch and of CUDA's
// headers.
//
// All functions take a stream first: on the CUDA row the cudaStream_t of the
// current device on which they are queued without waiting; the others run on
// the calling thread and do not look at it. A CUDA launch that fails is an
// `InternalError`. The meta row does nothing: what comes out of a kernel has
// its shape from who allocates it.

namespace mumoe::kernels {

/// A row: the functions of one family for each of these element types.
template <template <class> class K, class... Es>
struct Row : K<Es>... {
  template <class E>
  const K<E>& of() const {
    return *this;
  }
};

/// For the meta row: converts to any function that returns nothing.
struct Nothing {
  template <class... A>
  using Function = void (*)(A...);
  template <class... A>
  constexpr operator Function<A...>() const {
    return [](A...) {};
  }
};

template <template <class> class K, class... Es>
struct Table {
  /// By `Isa`. A family that is not compiled for the best set repeats the one
  /// before.
  const Row<K, Es...>* isa[4];
  /// Null: not compiled.
  const Row<K, Es...>* cuda = nullptr;
  const Row<K, Es...>* meta = nullptr;

  template <class E>
  const K<E>& row(Isa set) const {
    return isa[static_cast<std::size_t>(set)]->template of<E>();
  }
};

/// Memory for the length of a call, zero at first. Defined once, for the files
/// that are compiled for several instruction sets.
class ScratchMemory {
 public:
  explicit ScratchMemory(std::int64_t values);
  ~ScratchMemory();
  ScratchMemory(const ScratchMemory&) = delete;
  ScratchMemory& operator=(const ScratchMemory&) = delete;

  /// `values` values of 8 bytes.
  double* const data;
};

// Where the rows `name` of a family lie: each is defined by the file that is
// compiled for it.
#define MUMOE_DECLARE_ROWS(Type, name) \
  namespace portable {                 \
  extern const Type name;              \
  }                                    \
  namespace avx2 {                     \
  extern const Type name;              \
  }                                    \
  namespace avx512 {                   \
  extern const Type name;              \
  }                                    \
  namespace avx512_bf16 {              \
  extern const Type name;              \
  }                                    \
  namespace cuda {                     \
  extern const Type name;              \
  }

/// The address of a family's CUDA row where CUDA is compiled in.
#ifdef MUMOE_WITH_CUDA
#define MUMOE_CUDA_ROW(name) &cuda::name
#else
#define MUMOE_CUDA_ROW(name) nullptr
#endif

}  // namespace mumoe::kernels

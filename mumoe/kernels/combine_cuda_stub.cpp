// Stands in for combine.cu in a build without CUDA.
#include "base/error.h"
#include "mumoe/kernels/combine_cuda.h"

namespace mumoe::kernels {

template <class E>
void combine_forward_cuda(const CombineShape&,
                          const CombineForward<E>&,
                          std::int64_t,
                          void*) {
  fail<InternalError>("combine: built without CUDA");
}

template <class E>
void combine_backward_cuda(const CombineShape&,
                           const CombineBackward<E>&,
                           std::int64_t,
                           void*) {
  fail<InternalError>("combine: built without CUDA");
}

#define MUMOE_INSTANTIATE(E)                                        \
  template void combine_forward_cuda<E>(const CombineShape&,        \
                                        const CombineForward<E>&,   \
                                        std::int64_t,               \
                                        void*);                     \
  template void combine_backward_cuda<E>(const CombineShape&,       \
                                         const CombineBackward<E>&, \
                                         std::int64_t,              \
                                         void*);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)
MUMOE_INSTANTIATE(Bf16)

}  // namespace mumoe::kernels

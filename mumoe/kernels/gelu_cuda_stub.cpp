// Stands in for gelu.cu in a build without CUDA.
#include "base/error.h"
#include "mumoe/kernels/gelu_cuda.h"

namespace mumoe::kernels {

template <class E>
void gelu_forward_cuda(const E*, E*, std::int64_t, void*) {
  fail<InternalError>("gelu: built without CUDA");
}

template <class E>
void gelu_backward_cuda(const E*, const E*, E*, E*, std::int64_t, void*) {
  fail<InternalError>("gelu: built without CUDA");
}

#define MUMOE_INSTANTIATE(E)                                             \
  template void gelu_forward_cuda<E>(const E*, E*, std::int64_t, void*); \
  template void gelu_backward_cuda<E>(const E*,                          \
                                      const E*,                          \
                                      E*,                                \
                                      E*,                                \
                                      std::int64_t,                      \
                                      void*);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)
MUMOE_INSTANTIATE(Bf16)

}  // namespace mumoe::kernels

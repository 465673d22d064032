// Stands in for gate.cu in a build without CUDA.
#include "base/error.h"
#include "mumoe/kernels/gate_cuda.h"

namespace mumoe::kernels {

template <class E>
void gate_forward_cuda(const E*,
                       E*,
                       std::int64_t,
                       std::int64_t,
                       GateNorm,
                       void*) {
  fail<InternalError>("gate: built without CUDA");
}

template <class E>
void gate_backward_cuda(const E*,
                        const E*,
                        const E*,
                        E*,
                        std::int64_t,
                        std::int64_t,
                        GateNorm,
                        void*) {
  fail<InternalError>("gate: built without CUDA");
}

#define MUMOE_INSTANTIATE(E)                        \
  template void gate_forward_cuda<E>(const E*,      \
                                     E*,            \
                                     std::int64_t,  \
                                     std::int64_t,  \
                                     GateNorm,      \
                                     void*);        \
  template void gate_backward_cuda<E>(const E*,     \
                                      const E*,     \
                                      const E*,     \
                                      E*,           \
                                      std::int64_t, \
                                      std::int64_t, \
                                      GateNorm,     \
                                      void*);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)
MUMOE_INSTANTIATE(Bf16)

}  // namespace mumoe::kernels

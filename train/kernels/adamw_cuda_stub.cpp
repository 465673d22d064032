// Stands in for adamw.cu in a build without CUDA.
#include "base/error.h"
#include "train/kernels/adamw_cuda.h"

namespace mumoe::train {

template <class T>
void adamw_update_cuda(const AdamWScalars&,
                       T*,
                       const T*,
                       T*,
                       T*,
                       Bf16*,
                       std::int64_t,
                       void*) {
  fail<InternalError>("adamw: built without CUDA");
}

#define MUMOE_INSTANTIATE(T)                              \
  template void adamw_update_cuda<T>(const AdamWScalars&, \
                                     T*,                  \
                                     const T*,            \
                                     T*,                  \
                                     T*,                  \
                                     Bf16*,               \
                                     std::int64_t,        \
                                     void*);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)

}  // namespace mumoe::train

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

template <class T>
void sum_of_squares_cuda(const T*, std::int64_t, double*, double*, void*) {
  fail<InternalError>("sum of squares: built without CUDA");
}

#define MUMOE_INSTANTIATE(T)                              \
  template void adamw_update_cuda<T>(const AdamWScalars&, \
                                     T*,                  \
                                     const T*,            \
                                     T*,                  \
                                     T*,                  \
                                     Bf16*,               \
                                     std::int64_t,        \
                                     void*);              \
  template void sum_of_squares_cuda<T>(const T*,          \
                                       std::int64_t,      \
                                       double*,           \
                                       double*,           \
                                       void*);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)

}  // namespace mumoe::train

#pragma once

#include <cstdint>

#include "train/kernels/adamw.h"

// What adamw_cpu.cpp defines once per instruction set, for adamw.cpp to choose
// from.

namespace mumoe::train {

#define MUMOE_DECLARE_ADAMW(isa)                        \
  namespace isa {                                       \
  template <class T>                                    \
  void adamw_update(const AdamWConstants<T>& constants, \
                    T* master,                          \
                    const T* grad,                      \
                    T* first,                           \
                    T* second,                          \
                    Bf16* compute,                      \
                    std::int64_t n);                    \
  }

MUMOE_DECLARE_ADAMW(portable)
MUMOE_DECLARE_ADAMW(avx2)
MUMOE_DECLARE_ADAMW(avx512)

#undef MUMOE_DECLARE_ADAMW

}  // namespace mumoe::train

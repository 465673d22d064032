#pragma once

#include <vector>

#include "base/cpu.h"

namespace mumoe::testing {

/// The instruction sets that this machine runs, as far as MUMOE_ISA allows.
inline std::vector<Isa> available_isas() {
  std::vector<Isa> result;
  for (const Isa isa :
       {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16}) {
    if (isa <= best_isa()) result.push_back(isa);
  }
  return result;
}

}  // namespace mumoe::testing

#include "base/cpu.h"

#include <cpuid.h>

#include <cstdlib>

#include "base/error.h"

namespace mumoe {
namespace {

Isa hardware_isa() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    return __builtin_cpu_supports("avx512bf16") ? Isa::avx512_bf16
                                                : Isa::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return Isa::avx2;
  }
  return Isa::portable;
}

Isa choose_isa() {
  const Isa hardware = hardware_isa();
  const char* asked = std::getenv("MUMOE_ISA");
  if (asked == nullptr) return hardware;
  for (const Isa isa :
       {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16}) {
    if (to_string(isa) == asked) {
      require(isa <= hardware,
              "MUMOE_ISA=",
              asked,
              ": this CPU has ",
              to_string(hardware),
              " at best");
      return isa;
    }
  }
  fail<InputError>("MUMOE_ISA=",
                   asked,
                   ": expected portable, avx2, avx512 or avx512_bf16");
}

}  // namespace

Isa best_isa() {
  static const Isa isa = choose_isa();
  return isa;
}

bool cpu_multiplies_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return false;
  const bool avx512_bf16 = (a & (1u << 5)) != 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  const bool amx_bf16 = (d & (1u << 22)) != 0;
  return hardware_isa() >= Isa::avx512 && (avx512_bf16 || amx_bf16);
}

std::string_view to_string(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return "portable";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
  }
  return "?";
}

}  // namespace mumoe

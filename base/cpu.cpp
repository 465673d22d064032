#include "base/cpu.h"

#include <cpuid.h>
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <cstring>

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
              "MUMOE_ISA={}: this CPU has {} at best",
              asked,
              to_string(hardware));
      return isa;
    }
  }
  fail<InputError>(
      "MUMOE_ISA={}: expected portable, avx2, avx512 or avx512_bf16",
      asked);
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

std::string cpu_vendor() {
  unsigned a = 0;
  std::array<unsigned, 3> words{};
  if (__get_cpuid(0, &a, &words[0], &words[2], &words[1]) == 0) return {};
  return {reinterpret_cast<const char*>(words.data()), sizeof words};
}

std::string cpu_name() {
  std::array<unsigned, 12> brand{};
  for (unsigned i = 0; i < 3; ++i) {
    unsigned* words = &brand[4 * std::size_t{i}];
    if (__get_cpuid(0x80000002u + i,
                    &words[0],
                    &words[1],
                    &words[2],
                    &words[3]) == 0) {
      break;
    }
  }
  std::string name(reinterpret_cast<const char*>(brand.data()), sizeof brand);
  name.resize(std::strlen(name.c_str()));
  unsigned signature = 0, b = 0, c = 0, d = 0;
  __get_cpuid(1, &signature, &b, &c, &d);
  return fmt::format("{} {} {}", cpu_vendor(), signature, name);
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
